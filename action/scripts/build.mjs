// Makes the bundles that the runner starts: dist/index.cjs (main and post) and dist/report.cjs.
// With --check it fails unless the bundles in dist/ are what the sources make.
import { readFile, mkdir, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import path from 'node:path';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = path.join(root, 'dist');
const { version } = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8'));

/** What the sources make: names and contents of all files of dist/. */
async function outputs() {
  const { outputFiles, metafile } = await build({
    absWorkingDir: root,
    entryPoints: { index: 'src/main.ts', report: 'src/report.ts' },
    outdir: 'dist',
    outExtension: { '.js': '.cjs' },
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    charset: 'utf8',
    define: { ACTION_VERSION: JSON.stringify(version) },
    write: false,
    metafile: true,
  });
  const files = new Map(outputFiles.map((file) => [path.basename(file.path), file.text]));
  files.set('licenses.txt', await licenses(Object.keys(metafile.inputs)));
  return files;
}

/** The licences of all packages that something of is in a bundle. */
async function licenses(inputs) {
  const packages = inputs.map((input) => /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1]);
  const names = [...new Set(packages.filter((name) => name !== undefined))].sort();
  const texts = names.map(async (name) => {
    const dir = path.join(root, 'node_modules', name);
    const { version } = JSON.parse(await readFile(path.join(dir, 'package.json'), 'utf8'));
    const text = await readFile(path.join(dir, 'LICENSE'), 'utf8');
    return `${name} ${version}\n\n${text.trim()}\n`;
  });
  return (await Promise.all(texts)).join('\n----\n\n');
}

const files = await outputs();
if (process.argv.includes('--check')) {
  // The default image is that of the release that the action is of.
  const cargo = await readFile(path.join(root, '..', 'Cargo.toml'), 'utf8');
  if (!cargo.includes(`\nversion = "${version}"\n`)) {
    console.error(`action/package.json has version ${version}, and Cargo.toml another one`);
    process.exitCode = 1;
  }
  for (const [name, text] of files) {
    const there = await readFile(path.join(dist, name), 'utf8').catch(() => undefined);
    if (there !== text) {
      console.error(`action/dist/${name} is not what the sources make: npm run build`);
      process.exitCode = 1;
    }
  }
} else {
  await mkdir(dist, { recursive: true });
  for (const [name, text] of files) {
    await writeFile(path.join(dist, name), text);
  }
}
