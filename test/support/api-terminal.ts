import { PassThrough } from 'node:stream';
import { runCommandLine } from '../../scripts/cli/command-line.js';
import type { ExitCode } from '../../scripts/cli/exit-code.js';
import type { Input, Terminal } from '../../scripts/cli/session.js';

/** A process for the command line to run in, made of streams; nothing is typed unless a test does. */
export class FakeTerminal implements Terminal {
  readonly stdin: Input & PassThrough = new PassThrough();
  readonly stdout: PassThrough & { isTTY?: boolean } = new PassThrough();
  readonly stderr = new PassThrough();
  readonly #listeners = new Set<() => void>();
  readonly onInterrupt = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** Ctrl-C. */
  interrupt(): void {
    for (const listener of this.#listeners) listener();
  }

  /** Text that was printed to standard output until now; taken away by that. */
  printed(): string {
    return takeText(this.stdout);
  }

  /** The same of standard error. */
  remarked(): string {
    return takeText(this.stderr);
  }
}

function takeText(stream: PassThrough): string {
  const chunk = stream.read() as Buffer | null;
  return chunk === null ? '' : chunk.toString('utf8');
}

export interface Outcome {
  readonly exitCode: ExitCode;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs one command in this process, to its end. */
export async function runCommand(args: string[], terminal = new FakeTerminal()): Promise<Outcome> {
  const exitCode = await runCommandLine(args, terminal);
  return { exitCode, stdout: terminal.printed(), stderr: terminal.remarked() };
}
