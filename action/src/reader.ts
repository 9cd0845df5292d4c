/** Reads single inputs, which the runner gives as variables. */
import { parseDuration, type Duration } from './duration.ts';

/** What is wrong with the inputs, one line each. */
export class InputError extends Error {
  constructor(readonly problems: string[]) {
    super(problems.join('\n'));
  }
}

/** Reads single inputs and collects what is wrong with them. */
export class Reader {
  readonly problems: string[] = [];

  constructor(private readonly env: NodeJS.ProcessEnv) {}

  text(name: string): string {
    return (this.env[`INPUT_${name.replaceAll(' ', '_').toUpperCase()}`] ?? '').trim();
  }

  /** As YAML's core schema has it, which is what the runner takes for a boolean. */
  boolean(name: string, byDefault: boolean): boolean {
    const text = this.text(name);
    if (text === '') return byDefault;
    if (/^(true|True|TRUE)$/.test(text)) return true;
    if (!/^(false|False|FALSE)$/.test(text)) {
      this.problems.push(`${name}: "${text}" is neither true nor false`);
    }
    return false;
  }

  lines(name: string): string[] {
    return list(this.text(name), '\n');
  }

  duration(name: string, byDefault: string): Duration {
    const text = this.text(name) || byDefault;
    return this.attempt(name, () => parseDuration(text)) ?? { text, milliseconds: 0 };
  }

  /** What `read` gives; what it throws is a problem of this input. */
  attempt<T>(name: string, read: () => T): T | undefined {
    try {
      return read();
    } catch (error) {
      this.problems.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
      return undefined;
    }
  }

  /** Throws if anything was wrong. */
  finish(): void {
    if (this.problems.length > 0) {
      throw new InputError(this.problems);
    }
  }
}

/** The items of a list that are not empty. */
export function list(text: string, separator: string | RegExp): string[] {
  const items = text.split(separator).map((item) => item.trim());
  return items.filter((item) => item !== '');
}
