/** Both phases of the action: the runner starts the same program for each. */
import { finish } from './finish.ts';
import { reasonOf } from './process.ts';
import { setUp, type Wait } from './setup.ts';
import { load } from './state.ts';
import { annotate, getState, saveState } from './workflow.ts';

/** Kept by the main phase: where it is set, the job is at its end. */
const STARTED = 'started';

/** Makes the builder, or does what is to be done when the job ends. */
export async function runAction(wait: Wait): Promise<void> {
  if (getState(STARTED) === '') {
    saveState(STARTED, 'true');
    await setUp(wait);
  } else {
    await post();
  }
}

async function post(): Promise<void> {
  try {
    const state = load();
    if (state !== undefined) await finish(state);
  } catch (error) {
    annotate('warning', reasonOf(error));
  }
  // A cache is no reason to fail a job that has built.
  process.exitCode = 0;
}
