/** Programs that the action runs. */
import { spawn } from 'node:child_process';
import { info } from './workflow.ts';

/** How long programs may take that only ask or change something. */
const TIMEOUT_MS = 60_000;

/** What came of a program. */
export interface Finished {
  ok: boolean;
  stdout: string;
  stderr: string;
  /** What it wrote to standard error of its failure, or why it did not run or was ended. */
  reason: string;
}

export interface RunOptions {
  /** What it reads from standard input. */
  input?: string;
  /** When it is ended by force. */
  timeoutMs?: number;
  /** What of its output goes to the log as it comes. */
  echo?: 'all' | 'stderr';
  /** What is not shown of the command line. */
  secret?: string;
}

/** Runs a program to its end. It never throws: what failed is in the result. */
export function run(program: string, args: string[], options: RunOptions = {}): Promise<Finished> {
  const timeout = options.timeoutMs ?? TIMEOUT_MS;
  return new Promise((resolve) => {
    const child = spawn(program, args, { timeout, killSignal: 'SIGKILL' });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
      if (options.echo === 'all') process.stdout.write(text);
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
      if (options.echo) process.stdout.write(text);
    });
    child.on('error', (error) => resolve({ ok: false, stdout, stderr, reason: error.message }));
    child.on('close', (code, signal) => {
      const ended =
        signal === null
          ? `${program} ended with exit code ${code}`
          : `${program} was ended with ${signal} after ${timeout / 1000} s`;
      const reason = signal === null ? reasonIn(stderr) || ended : ended;
      resolve({ ok: code === 0, stdout, stderr, reason });
    });
    // A program that ends before it has read everything is judged by its exit code.
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input ?? '');
  });
}

/** As {@link run}, with the command line and its output in the log. */
export function runLogged(
  program: string,
  args: string[],
  options: RunOptions = {},
): Promise<Finished> {
  const line = [program, ...args].map(quoted).join(' ');
  info(options.secret ? line.replaceAll(options.secret, '***') : line);
  return run(program, args, { echo: 'all', ...options });
}

function quoted(arg: string): string {
  return /^[\w@%+=:,./-]+$/.test(arg) ? arg : `'${arg.replaceAll("'", `'\\''`)}'`;
}

/** The line that programs of Docker and ours begin with `error`, or else the last one. */
function reasonIn(stderr: string): string {
  const lines = stderr.split('\n').map((line) => line.trim());
  const said = lines.filter((line) => line !== '');
  return said.find((line) => /^error\b/i.test(line)) ?? said.at(-1) ?? '';
}

/** What is wrong, in its own words. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
