import { AgentClient } from '../../client/agent-client.js';
import { followConsole } from '../cli/console-follow.js';

/**
 * A test or a demo starts an agent again when it is ready to, on a host that may be busy: it is waited for longer than a person would,
 * a minute in all, and found soon after. ms
 */
const RECONNECT_DELAYS_MS: readonly number[] = Array.from({ length: 240 }, () => 250);

/** All that a guest prints from now on, on whichever node: followed from agent to agent as it moves. */
export class GuestTranscript {
  readonly #remarks: string[] = [];
  readonly #leave = new AbortController();
  readonly #changes = new Set<() => void>();
  #text = '';
  #ended = false;
  readonly #following: Promise<void>;

  constructor(client: AgentClient, vm: string) {
    this.#following = followConsole({
      client,
      name: vm,
      position: 0,
      write: (bytes) => Promise.resolve(this.#add(Buffer.from(bytes).toString('latin1'))),
      connect: (url) => new AgentClient(url),
      remark: (line) => void this.#remarks.push(line),
      signal: this.#leave.signal,
      delaysMs: RECONNECT_DELAYS_MS,
    }).then(
      () => this.#end(),
      (error: Error) => {
        this.#remarks.push(error.message);
        this.#end();
      },
    );
  }

  /** What is wrong with it: bytes that are missing, how it broke off. Empty if nothing is. */
  get defects(): string[] {
    return this.#remarks.filter((remark) => !/ moved to /.test(remark));
  }

  get text(): string {
    return this.#text;
  }

  /** Whole lines that match, in their order. */
  lines(matches: RegExp): string[] {
    return this.#text
      .split('\n')
      .slice(0, -1)
      .filter((line) => matches.test(line));
  }

  /** Resolves once what was printed from `position` on matches; all of that. */
  async printed(matches: RegExp, position = 0): Promise<string> {
    for (;;) {
      const printed = this.#text.slice(position);
      if (matches.test(printed)) return printed;
      if (this.#ended) {
        const last = JSON.stringify(this.#text.slice(-1000));
        throw new Error(`the console ended without ${String(matches)}: ${this.#remarks.join('; ')}; ${last}`);
      }
      await new Promise<void>((resolve) => this.#changes.add(resolve));
    }
  }

  /** Resolves once another line that matches was printed. */
  async another(matches: RegExp): Promise<void> {
    // The line that is being printed now is not another one.
    const begun = this.#text.length;
    await this.printed(new RegExp(`\\n[^\\n]*(?:${matches.source})[^\\n]*\\n`, 'm'), begun);
  }

  /** Ends following. */
  async close(): Promise<void> {
    this.#leave.abort();
    await this.#following;
  }

  #add(text: string): void {
    this.#text += text;
    this.#wake();
  }

  #end(): void {
    this.#ended = true;
    this.#wake();
  }

  #wake(): void {
    const waiting = [...this.#changes];
    this.#changes.clear();
    for (const wake of waiting) wake();
  }
}

/** What is wrong with numbers that should be 1, 2, 3, ... in words, up to ten; empty where nothing is. */
export function gapsIn(numbers: readonly number[]): string[] {
  const defects: string[] = [];
  let expected = 1;
  for (const number of numbers) {
    if (number !== expected && defects.length < 10) defects.push(`${number} where ${expected} was due`);
    expected = number + 1;
  }
  return defects;
}
