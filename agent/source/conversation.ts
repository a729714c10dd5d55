import { MigrationError } from '../../shared/errors.js';
import type { SourceMessage, TargetMessage } from '../../shared/protocol/messages.js';
import { systemTimers, type Timers } from '../../shared/timers.js';
import type { SourceControl } from '../link/link.js';

type TypeOf = TargetMessage['type'];
type MessageOf<T extends TypeOf> = Extract<TargetMessage, { type: T }>;

interface Expectation {
  readonly type: TypeOf;
  resolve(message: TargetMessage): void;
  reject(error: MigrationError): void;
}

/**
 * The source's side of what is said on the control connection after the lock: answers come in the order of the questions,
 * and what comes unasked is the target giving up ('error', 'aborted') or the connection ending. Both are reported to
 * `onFailure`, once; open questions are rejected with the same error.
 */
export class Conversation {
  readonly #control: SourceControl;
  readonly #peer: string;
  readonly #timers: Pick<Timers, 'after'>;
  readonly #onFailure: (error: MigrationError) => void;
  readonly #stopListening: () => void;
  /** What is asked and not answered yet, in order. */
  #expected: Expectation[] = [];
  #failure: MigrationError | null = null;

  constructor(
    control: SourceControl,
    peer: string,
    onFailure: (error: MigrationError) => void,
    timers: Pick<Timers, 'after'> = systemTimers,
  ) {
    this.#control = control;
    this.#peer = peer;
    this.#timers = timers;
    this.#onFailure = onFailure;
    this.#stopListening = control.onMessage((message) => this.#receive(message));
    control.onClose((end) => {
      const why = end.reason === '' ? `code ${end.code}` : end.reason;
      this.#fail(new MigrationError('link-lost', `the control connection to node ${peer} ended: ${why}`));
    });
  }

  /** False once it was ended or has failed: nothing more will be heard. */
  get open(): boolean {
    return this.#failure === null;
  }

  /** Sends `message` and resolves with the answer of that type; rejects as expect() does. */
  async ask<T extends TypeOf>(message: SourceMessage, type: T, timeoutMs: number): Promise<MessageOf<T>> {
    const [answer] = await Promise.all([this.expect(type, timeoutMs), this.#control.send(message)]);
    return answer;
  }

  /**
   * Resolves with the next message of that type. Rejects with timeout, or with why the conversation failed. With
   * `sent`, the time runs from when that resolves; if it rejects there is no limit.
   */
  async expect<T extends TypeOf>(type: T, timeoutMs: number, sent?: Promise<void>): Promise<MessageOf<T>> {
    if (this.#failure) throw this.#failure;
    let cancel: (() => void) | undefined;
    let over = false;
    let expectation: Expectation | undefined;
    try {
      return await new Promise<MessageOf<T>>((resolve, reject) => {
        expectation = { type, resolve: (message) => resolve(message as MessageOf<T>), reject };
        this.#expected.push(expectation);
        const limit = () => {
          if (over) return;
          cancel = this.#timers.after(timeoutMs, () => {
            const text = `node ${this.#peer} did not answer '${type}' within ${timeoutMs} ms`;
            reject(new MigrationError('timeout', text));
          });
        };
        if (sent) sent.then(limit, () => undefined);
        else limit();
      });
    } finally {
      over = true;
      cancel?.();
      this.#expected = this.#expected.filter((each) => each !== expectation);
    }
  }

  /**
   * Stops listening; later messages and the end of the connection are no failure any more. Open questions are
   * rejected with `error`.
   */
  end(error: MigrationError | null): void {
    this.#stopListening();
    if (this.#failure) return;
    this.#failure = error ?? new MigrationError('internal', 'the conversation has ended');
    this.#refuse(this.#failure);
  }

  #receive(message: TargetMessage): void {
    if (message.type.startsWith('lock-')) return;
    const [next] = this.#expected;
    if (next?.type === message.type) {
      this.#expected.shift();
      next.resolve(message);
    } else if (message.type === 'error') {
      this.#fail(new MigrationError(message.code, `node ${this.#peer}: ${message.message}`));
    } else if (message.type === 'aborted') {
      this.#fail(
        new MigrationError('peer-failed', `node ${this.#peer} gave the migration up and did not say why`),
      );
    } else {
      const text = `node ${this.#peer} sent '${message.type}', which nothing asked for`;
      this.#fail(new MigrationError('unexpected-message', text));
    }
  }

  #fail(error: MigrationError): void {
    if (this.#failure) return;
    this.#failure = error;
    this.#refuse(error);
    this.#onFailure(error);
  }

  #refuse(error: MigrationError): void {
    for (const expectation of this.#expected.splice(0)) expectation.reject(error);
  }
}
