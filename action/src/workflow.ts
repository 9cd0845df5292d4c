/**
 * What a step says to the runner: commands on standard output, and the files that GITHUB_OUTPUT,
 * GITHUB_STATE, GITHUB_ENV and GITHUB_STEP_SUMMARY name.
 */
import { randomUUID } from 'node:crypto';
import { appendFileSync } from 'node:fs';

type Level = 'notice' | 'warning' | 'error';

function escapeData(text: string): string {
  return text.replace(/%/g, '%25').replace(/\r/g, '%0D').replace(/\n/g, '%0A');
}

function escapeProperty(text: string): string {
  return escapeData(text).replace(/:/g, '%3A').replace(/,/g, '%2C');
}

/** A line of the step's log. */
export function info(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** An annotation of the run. It does not fail the step. */
export function annotate(level: Level, text: string): void {
  info(`::${level} title=${escapeProperty('buildkit-gha')}::${escapeData(text)}`);
}

/** Marks the step as failed and says why. */
export function fail(text: string): void {
  process.exitCode = 1;
  annotate('error', text);
}

/** From now on the runner shows `***` instead of this. It masks line by line. */
export function mask(secret: string): void {
  for (const line of secret.split(/\r?\n/)) {
    if (line.trim() !== '') {
      info(`::add-mask::${escapeData(line)}`);
    }
  }
}

/** A part of the log that can be folded. */
export async function group<T>(title: string, work: () => Promise<T>): Promise<T> {
  info(`::group::${title}`);
  try {
    return await work();
  } finally {
    info('::endgroup::');
  }
}

/** Text of programs that we do not know: nothing of it is read as a command. */
export function quote(text: string): void {
  const end = randomUUID();
  info(`::stop-commands::${end}`);
  info(text.trimEnd());
  info(`::${end}::`);
}

function append(file: string, text: string): void {
  const path = process.env[file];
  if (!path) {
    throw new Error(`${file} is not set: this program is started by a runner of GitHub Actions`);
  }
  appendFileSync(path, text);
}

function appendVariable(file: string, name: string, value: string): void {
  // The delimiter must not be foreseeable: a value with it could set other variables.
  const delimiter = `end-${randomUUID()}`;
  append(file, `${name}<<${delimiter}\n${value}\n${delimiter}\n`);
}

/** Sets an output of the step. It counts in the main phase only: in the post phase nobody reads it. */
export function setOutput(name: string, value: string): void {
  appendVariable('GITHUB_OUTPUT', name, value);
}

/** Keeps something for the post phase. */
export function saveState(name: string, value: string): void {
  appendVariable('GITHUB_STATE', name, value);
}

/** What {@link saveState} kept, or an empty text. */
export function getState(name: string): string {
  return process.env[`STATE_${name}`] ?? '';
}

/** Sets a variable of all later steps of the job. */
export function exportVariable(name: string, value: string): void {
  appendVariable('GITHUB_ENV', name, value);
}

/** Appends to the summary of the job. */
export function addSummary(markdown: string): void {
  append('GITHUB_STEP_SUMMARY', `${markdown.trimEnd()}\n\n`);
}

/** Whether the job runs with debug logging. */
export function isDebug(): boolean {
  return process.env['RUNNER_DEBUG'] === '1';
}
