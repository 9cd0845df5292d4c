/** What the main phase leaves for the post phase. */
import { getState, saveState } from './workflow.ts';

export interface State {
  /** The builder. */
  name: string;
  cleanup: boolean;
  keepState: boolean;
  drainTimeout: string;
  summary: boolean;
  /** Why the builder is stock BuildKit, or an empty text. */
  fallback: string;
}

const NAME = 'state';

/** Keeps it. The last one counts. */
export function save(state: State): void {
  saveState(NAME, JSON.stringify(state));
}

/** What was kept; nothing in the main phase, or where that failed before it had begun. */
export function load(): State | undefined {
  const text = getState(NAME);
  return text === '' ? undefined : (JSON.parse(text) as State);
}
