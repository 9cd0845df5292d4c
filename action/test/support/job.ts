/** A job of a runner: the files and variables that a step has, and what it wrote there. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { FakeDocker } from './docker.ts';

/** What a phase of the action did. */
export interface Phase {
  exitCode: number | null;
  log: string;
  outputs: Record<string, string>;
  /** What later steps have in their environment. */
  exported: Record<string, string>;
  summary: string;
}

const FILES = {
  outputs: 'GITHUB_OUTPUT',
  state: 'GITHUB_STATE',
  exported: 'GITHUB_ENV',
  summary: 'GITHUB_STEP_SUMMARY',
} as const;

export class Job {
  readonly dir = mkdtempSync(path.join(tmpdir(), 'action-'));
  readonly docker = new FakeDocker(this.dir);
  private state: Record<string, string> = {};

  /** `env` is what the runner sets besides the files. */
  constructor(private readonly env: Record<string, string> = {}) {}

  /** Runs a phase of the action. */
  action(inputs: Record<string, string> = {}): Phase {
    return this.run('support/instant.mjs', inputs);
  }

  /** Runs the report. */
  report(inputs: Record<string, string> = {}): Phase {
    return this.run('support/report.mjs', inputs);
  }

  private run(program: string, inputs: Record<string, string>): Phase {
    const env: Record<string, string> = { ...this.env, RUNNER_TEMP: this.dir };
    env['PATH'] = `${this.docker.dir}:${process.env['PATH']}`;
    for (const [name, value] of Object.entries(inputs)) {
      env[`INPUT_${name.toUpperCase()}`] = value;
    }
    for (const [name, value] of Object.entries(this.state)) {
      env[`STATE_${name}`] = value;
    }
    for (const [file, variable] of Object.entries(FILES)) {
      env[variable] = path.join(this.dir, file);
      writeFileSync(env[variable], '');
    }
    const script = path.join(import.meta.dirname, program);
    const { status, stdout, stderr } = spawnSync(process.execPath, [script], {
      env,
      encoding: 'utf8',
      timeout: 60_000,
    });
    Object.assign(this.state, this.variables('state'));
    return {
      exitCode: status,
      log: `${stdout}${stderr}`,
      outputs: this.variables('outputs'),
      exported: this.variables('exported'),
      summary: this.read('summary'),
    };
  }

  private variables(file: keyof typeof FILES): Record<string, string> {
    const text = this.read(file);
    const all = [...text.matchAll(/^(.+?)<<(.+)\n([\s\S]*?)\n\2\n/gm)];
    return Object.fromEntries(all.map(([, name = '', , value = '']) => [name, value]));
  }

  /** A file of the job. */
  read(file: string): string {
    return readFileSync(path.resolve(this.dir, file), 'utf8');
  }

  remove(): void {
    rmSync(this.dir, { recursive: true });
  }
}
