import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import type { Test } from 'tap';

/** A program under test, with what it has printed. It is killed when the test ends. */
export class Program {
  readonly process: ChildProcess;
  readonly pid: number;
  printed = '';

  constructor(t: Test, command: string, ...args: string[]) {
    this.process = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.pid = this.process.pid!;
    const ended = once(this.process, 'close');
    t.teardown(async () => {
      this.process.kill('SIGKILL');
      await ended;
    });
    (this.process.stdout as Readable).on('data', (data: Buffer) => (this.printed += data.toString()));
  }

  type(text: string): void {
    this.process.stdin!.write(text);
  }

  /** Resolves once it has printed that. */
  async prints(text: string): Promise<void> {
    while (!this.printed.includes(text)) await once(this.process.stdout!, 'data');
  }

  /** Its exit code and the signal that ended it. */
  async ends(): Promise<[number | null, NodeJS.Signals | null]> {
    return (await once(this.process, 'exit')) as [number | null, NodeJS.Signals | null];
  }
}
