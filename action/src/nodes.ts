/** What `docker buildx inspect` prints, as the outputs of setup-buildx have it. */

/** A node of a builder; the names are those of setup-buildx's output `nodes`. */
export interface Node {
  name: string;
  endpoint?: string;
  'driver-opts'?: string[];
  status?: string;
  'buildkitd-flags'?: string;
  buildkit?: string;
  platforms?: string;
  error?: string;
}

export interface Builder {
  name: string;
  driver: string;
  nodes: Node[];
}

/** Driver options that are shown to nobody. */
const SECRET_OPTIONS = ['env.BUILDKIT_GHA_TOKEN'];

/** Reads the text; lines that it does not know are left out. */
export function parseInspect(text: string): Builder {
  const builder: Builder = { name: '', driver: '', nodes: [] };
  let node: Node | undefined;
  for (const line of text.split('\n')) {
    // Values of labels, rules and files are indented.
    const [, key, value] = /^([A-Z][^:]*):\s*(.*)$/.exec(line) ?? [];
    if (key === undefined || value === undefined) continue;
    if (key === 'Name') {
      if (builder.name === '') {
        builder.name = value;
      } else {
        node = { name: value };
        builder.nodes.push(node);
      }
    } else if (node !== undefined) {
      setField(node, key, value);
    } else if (key === 'Driver') {
      builder.driver = value;
    }
  }
  return builder;
}

function setField(node: Node, key: string, value: string): void {
  switch (key) {
    case 'Endpoint':
      node.endpoint = value;
      break;
    case 'Driver Options':
      node['driver-opts'] = parseOptions(value);
      break;
    case 'Status':
      node.status = value;
      break;
    case 'BuildKit daemon flags':
      node['buildkitd-flags'] = value;
      break;
    case 'BuildKit version':
      node.buildkit = value;
      break;
    case 'Platforms':
      node.platforms = parsePlatforms(value);
      break;
    case 'Error':
      node.error = value;
      break;
  }
}

/** `name="value"`, quoted as Go does. */
function parseOptions(text: string): string[] {
  const options = text.matchAll(/([^\s=]+)=("(?:[^"\\]|\\.)*")/g);
  const read = [...options].map(([, name = '', quoted = '']) => {
    const value = SECRET_OPTIONS.includes(name) ? '***' : unquote(quoted);
    return `${name}=${value}`;
  });
  // buildx prints them in any order.
  return read.sort();
}

/** What Go quotes is JSON but for rare characters, which then stay as they were printed. */
function unquote(quoted: string): string {
  try {
    return JSON.parse(quoted) as string;
  } catch {
    return quoted.slice(1, -1);
  }
}

/** Platforms with a star are those that were fixed, and win over those that were found. */
function parsePlatforms(text: string): string {
  const all = text.split(',').map((platform) => platform.trim());
  const fixed = all.filter((platform) => platform.includes('*'));
  return (fixed.length > 0 ? fixed : all)
    .map((platform) => platform.replaceAll('*', ''))
    .filter((platform) => platform !== '')
    .join(',');
}

/** The platforms of all nodes, each once. */
export function allPlatforms(nodes: Node[]): string {
  const platforms = nodes.flatMap((node) => (node.platforms ?? '').split(','));
  return [...new Set(platforms.filter((platform) => platform !== ''))].join(',');
}
