/** The action as the runner starts it, but that no time passes until a retry. */
import { runAction } from '../../src/action.ts';

void runAction(async () => undefined);
