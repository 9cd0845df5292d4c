/** Which image the builder is made of. */

/** Replaced when the bundle is made: the version in package.json, which is that of the release. */
declare const ACTION_VERSION: string;

export interface ImageSource {
  /** The input `image`. */
  image: string;
  /** The input `version`. */
  version: string;
  /** The environment of the step. */
  env: NodeJS.ProcessEnv;
}

/**
 * The image: the one that is asked for, or the image of the owner from whom the action comes. A fork
 * has its own image.
 */
export function builderImage({ image, version, env }: ImageSource): string {
  if (image !== '') {
    return image;
  }
  // An action that is used from the checkout (`uses: ./action`) is of the repository itself.
  const repository = env['GITHUB_ACTION_REPOSITORY'] || env['GITHUB_REPOSITORY'] || '';
  const owner = repository.split('/')[0]?.toLowerCase();
  if (!owner) {
    throw new Error(
      'neither GITHUB_ACTION_REPOSITORY nor GITHUB_REPOSITORY is set: name the image with `image`',
    );
  }
  return `ghcr.io/${owner}/buildkit-gha:${imageTag(version)}`;
}

/** Releases are called v1.2.3, their images 1.2.3. */
function imageTag(version: string): string {
  const wanted = version === '' ? ACTION_VERSION : version;
  return wanted.replace(/^v(?=\d)/, '');
}
