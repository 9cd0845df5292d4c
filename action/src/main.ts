/** What `action.yml` names: main and post. */
import { setTimeout } from 'node:timers/promises';
import { runAction } from './action.ts';

void runAction(setTimeout);
