/**
 * The variables of the runner's cache service. The runner gives them to actions alone; `docker buildx`
 * in a `run` step needs them, too.
 */
import type { Service } from './inputs.ts';
import { exportVariable, mask } from './workflow.ts';

const TOKEN = 'ACTIONS_RUNTIME_TOKEN';
const NAMES = ['ACTIONS_RESULTS_URL', 'ACTIONS_CACHE_URL', 'ACTIONS_CACHE_SERVICE_V2'];

/**
 * What stands for a token where the builder has its own. buildx leaves out an entry of type gha that
 * has no URL and no token; the gateway reads neither then.
 */
const PLACEHOLDER = 'set-on-the-builder';

/** Gives later steps the variables that the runner gave this one; returns their names. */
export function exportRuntime(env: NodeJS.ProcessEnv): string[] {
  const token = env[TOKEN];
  if (!token) return [];
  mask(token);
  exportVariable(TOKEN, token);
  const others = NAMES.filter((name) => env[name]);
  for (const name of others) {
    exportVariable(name, env[name] ?? '');
  }
  return [TOKEN, ...others];
}

/** For a runner that has no cache service: lets buildx send entries to a builder that has one. */
export function exportPlaceholder(service: Service): void {
  exportVariable(TOKEN, PLACEHOLDER);
  exportVariable('ACTIONS_RESULTS_URL', service.url);
  exportVariable('ACTIONS_CACHE_SERVICE_V2', 'true');
}
