/**
 * A `docker` for tests of what the action asks for: it writes each call down and answers by rules.
 * Whether the real programs take these calls is asked by `e2e/tests/action.rs`.
 */
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** An answer to calls whose command line has this text. */
export interface Rule {
  has: string;
  exit?: number;
  stdout?: string;
  stderr?: string;
  /** How many calls get it; all, if it is not set. */
  times?: number;
}

/** A call that was made. */
export interface Call {
  args: string[];
  input: string;
  /** The file behind `--buildkitd-config`, as it was then. */
  config?: string;
}

// The first rule that fits answers. A call that no rule knows succeeds and says nothing.
const PROGRAM = `#!${process.execPath}
const fs = require('fs');
const dir = __dirname;
const args = process.argv.slice(2);
const line = args.join(' ');
const input = fs.readFileSync(0, 'utf8');
const config = args.indexOf('--buildkitd-config');
const call = { args, input };
if (config >= 0) call.config = fs.readFileSync(args[config + 1], 'utf8');
fs.appendFileSync(dir + '/calls', JSON.stringify(call) + '\\n');
const rules = JSON.parse(fs.readFileSync(dir + '/rules', 'utf8'));
const rule = rules.find((rule) => line.includes(rule.has) && rule.times !== 0);
if (rule) {
  if (rule.times) {
    rule.times -= 1;
    fs.writeFileSync(dir + '/rules', JSON.stringify(rules));
  }
  process.stdout.write(rule.stdout ?? '');
  process.stderr.write(rule.stderr ?? '');
  process.exitCode = rule.exit ?? 0;
}
`;

export class FakeDocker {
  /** What must be first on PATH. */
  readonly dir: string;

  constructor(parent: string) {
    this.dir = path.join(parent, 'bin');
    mkdirSync(this.dir);
    writeFileSync(path.join(this.dir, 'docker'), PROGRAM);
    chmodSync(path.join(this.dir, 'docker'), 0o755);
    this.answer([]);
  }

  /** From now on calls are answered so. */
  answer(rules: Rule[]): void {
    writeFileSync(path.join(this.dir, 'rules'), JSON.stringify(rules));
  }

  /** All calls so far. */
  calls(): Call[] {
    const file = path.join(this.dir, 'calls');
    if (!existsSync(file)) return [];
    const lines = readFileSync(file, 'utf8').trim().split('\n');
    return lines.map((line) => JSON.parse(line) as Call);
  }

  /** Their command lines. */
  lines(): string[] {
    return this.calls().map((call) => call.args.join(' '));
  }

  /** The one call whose command line has this text. */
  call(text: string): Call {
    const [call, ...others] = this.calls().filter(({ args }) => args.join(' ').includes(text));
    if (call === undefined || others.length > 0) {
      throw new Error(`not one call with "${text}" in:\n${this.lines().join('\n')}`);
    }
    return call;
  }
}
