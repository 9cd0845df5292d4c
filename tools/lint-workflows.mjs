// Runs actionlint on every workflow in the repository: those that GitHub runs, those of the tests, and
// the examples in the documents. In examples the action is the one in this checkout, so that
// their inputs and outputs must exist.
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** What stands in examples for the action, and what it is here. */
const ACTION = /(?:https:\/\/github\.com\/)?OWNER\/buildkit-gha\/(action(?:\/report)?)@\S+/g;

/** A list of steps, for which the examples leave out what is around them. */
const STEPS = /^- (uses|name|id|run|if):/;

/** A whole workflow. */
const WORKFLOW = /^(name|on|jobs):/;

function files(dir, ending) {
  const found = spawnSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', dir], {
    cwd: root,
    encoding: 'utf8',
  });
  return found.stdout.split('\n').filter((name) => name.endsWith(ending));
}

/** Blocks of code: those fenced as YAML, and indented ones. */
function blocks(markdown) {
  const fenced = [...markdown.matchAll(/^( *)```ya?ml\b.*\n([\s\S]*?)^\1```/gm)].map(
    ([, indent, text]) => text.replace(new RegExp(`^${indent}`, 'gm'), ''),
  );
  const rest = markdown.replace(/^( *)```[\s\S]*?^\1```/gm, '');
  const indented = [...rest.matchAll(/(?:^ {4}.*\n|^\n(?= {4}))+/gm)].map(([text]) =>
    text.replace(/^ {4}/gm, '').replace(/^\n+/, ''),
  );
  return [...fenced, ...indented];
}

/** The workflow that an example is a part of, or nothing. */
function workflow(block) {
  const text = block.replaceAll(ACTION, './$1');
  if (STEPS.test(text)) {
    const steps = text.replace(/^(?=.)/gm, '      ');
    return `on: push\njobs:\n  example:\n    runs-on: ubuntu-latest\n    steps:\n${steps}`;
  }
  return WORKFLOW.test(text) ? text : undefined;
}

const project = mkdtempSync(path.join(tmpdir(), 'workflows-'));
let failed = false;
try {
  const dir = path.join(project, '.github', 'workflows');
  mkdirSync(dir, { recursive: true });
  mkdirSync(path.join(project, '.git'));
  symlinkSync(path.join(root, 'action'), path.join(project, 'action'));
  // It knows the names that runners have in examples.
  const config = path.join('.github', 'actionlint.yaml');
  copyFileSync(path.join(root, config), path.join(project, config));
  const names = [];
  const add = (source, text) => {
    const name = `${String(names.length).padStart(3, '0')}-${source.replaceAll('/', '-')}.yml`;
    writeFileSync(path.join(dir, name), text);
    names.push(path.join('.github', 'workflows', name));
  };
  for (const file of [...files('.github/workflows', '.yml'), ...files('e2e/action', '.yml')]) {
    add(file, readFileSync(path.join(root, file), 'utf8'));
  }
  const workflows = names.length;
  for (const file of files('.', '.md').filter((name) => !name.startsWith('docs/adr/'))) {
    for (const block of blocks(readFileSync(path.join(root, file), 'utf8'))) {
      const text = workflow(block);
      if (text !== undefined) add(file, text);
    }
  }
  console.log(`actionlint: ${workflows} workflows, ${names.length - workflows} examples`);
  // What else a machine has to look into scripts with is not pinned.
  const args = ['-shellcheck=', '-pyflakes=', '-no-color', ...names];
  const { status, error } = spawnSync(path.join(root, '.tools', 'bin', 'actionlint'), args, {
    cwd: project,
    stdio: 'inherit',
  });
  if (error) console.error(`actionlint does not run: ${error.message}; make tools builds it`);
  failed = status !== 0 || names.length === workflows;
} finally {
  rmSync(project, { recursive: true });
}
process.exitCode = failed ? 1 : 0;
