// Runs test/*.test.ts. Node.js 20 reads no TypeScript, so they are bundled into build/ first.
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import path from 'node:path';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const { version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
const tests = readdirSync(path.join(root, 'test')).filter((name) => name.endsWith('.test.ts'));

rmSync(path.join(root, 'build'), { recursive: true, force: true });
await build({
  absWorkingDir: root,
  entryPoints: [...tests, 'support/instant.ts', 'support/report.ts'].map((name) => `test/${name}`),
  outbase: 'test',
  outdir: 'build',
  outExtension: { '.js': '.mjs' },
  bundle: true,
  packages: 'external',
  platform: 'node',
  target: 'node20',
  format: 'esm',
  sourcemap: 'inline',
  define: { ACTION_VERSION: JSON.stringify(version) },
});
const args = [
  '--enable-source-maps',
  '--test',
  '--test-reporter=spec',
  ...tests.map((name) => `build/${name.replace(/ts$/, 'mjs')}`),
];
const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' });
process.exit(status ?? 1);
