import { MigrationError, toMigrationError } from '../../shared/errors.js';
import { closeReason, errorToCloseCode } from '../../shared/protocol/close-codes.js';
import {
  decodeSourceMessage,
  decodeTargetMessage,
  encodeSourceMessage,
  encodeTargetMessage,
} from '../../shared/protocol/control-codec.js';
import type { Connection, ConnectionEnd } from './connection.js';
import type { ControlChannel, SourceControl, TargetControl } from './link.js';

/** Messages kept while no receiver is there; bounds the memory that a peer which talks out of turn can take. */
export const MAX_BACKLOG_MESSAGES = 64;

/** Bytes of messages that are on their way out; bounds what a peer that asks and does not read can make this side hold. */
export const MAX_UNSENT_BYTES = 2 ** 20;

/** The source's end of a control connection: says SourceMessages, hears TargetMessages. */
export function sourceControl(connection: Connection): SourceControl {
  return new MessageChannel(connection, encodeSourceMessage, decodeTargetMessage);
}

/** The target's end of a control connection: says TargetMessages, hears SourceMessages. */
export function targetControl(connection: Connection): TargetControl {
  return new MessageChannel(connection, encodeTargetMessage, decodeSourceMessage);
}

/**
 * Validated messages over a connection. A message that is not valid ends the connection with the close code of
 * bad-message and the reason in words; so does too much that is not heard or not sent yet, with limit-exceeded. A receiver that throws
 * ends it as well, with the code of what it threw. In all of these the channel's end is local and has that code.
 */
class MessageChannel<Out, In> implements ControlChannel<Out, In> {
  readonly #connection: Connection;
  readonly #encode: (message: Out) => Uint8Array;
  readonly #decode: (encoded: Uint8Array) => In;
  readonly #listeners = new Set<(message: In) => void>();
  readonly #closeListeners: ((end: ConnectionEnd) => void)[] = [];
  readonly #backlog: In[] = [];
  #unsentBytes = 0;
  #refused = false;
  #end: ConnectionEnd | null = null;

  constructor(
    connection: Connection,
    encode: (message: Out) => Uint8Array,
    decode: (encoded: Uint8Array) => In,
  ) {
    this.#connection = connection;
    this.#encode = encode;
    this.#decode = decode;
    connection.onMessage((encoded) => this.#receive(encoded));
    connection.onClose((end) => {
      this.#end = end;
      for (const listener of this.#closeListeners.splice(0)) this.#announceEnd(listener, end);
    });
  }

  async send(message: Out): Promise<void> {
    const encoded = this.#encode(message);
    if (this.#unsentBytes + encoded.length > MAX_UNSENT_BYTES) {
      const text = `the peer does not read: ${this.#unsentBytes} bytes of control messages are waiting for it`;
      const error = new MigrationError('limit-exceeded', text);
      this.#refuse(error);
      throw error;
    }
    this.#unsentBytes += encoded.length;
    try {
      await this.#connection.send(encoded);
    } finally {
      this.#unsentBytes -= encoded.length;
    }
  }

  onMessage(listener: (message: In) => void): () => void {
    // a wrapper, so that one function added twice is removed once
    const receiver = (message: In) => listener(message);
    this.#listeners.add(receiver);
    if (this.#backlog.length > 0) queueMicrotask(() => this.#drain());
    return () => {
      this.#listeners.delete(receiver);
    };
  }

  onClose(listener: (end: ConnectionEnd) => void): void {
    if (this.#end) this.#announceEnd(listener, this.#end);
    else this.#closeListeners.push(listener);
  }

  close(code: number, reason: string): void {
    this.#connection.close(code, closeReason(reason));
  }

  /** Later than now, so that a receiver added in the same turn hears the last messages before the end. */
  #announceEnd(listener: (end: ConnectionEnd) => void, end: ConnectionEnd): void {
    queueMicrotask(() => {
      this.#drain();
      listener(end);
    });
  }

  #receive(encoded: Uint8Array): void {
    if (this.#refused) return;
    try {
      this.#backlog.push(this.#decode(encoded));
    } catch (error) {
      this.#refuse(toMigrationError(error));
      return;
    }
    this.#drain();
    if (this.#backlog.length > MAX_BACKLOG_MESSAGES) {
      this.#refuse(
        new MigrationError(
          'limit-exceeded',
          `more than ${MAX_BACKLOG_MESSAGES} control messages arrived that nobody waits for`,
        ),
      );
    }
  }

  #drain(): void {
    while (this.#listeners.size > 0 && !this.#refused) {
      const message = this.#backlog.shift();
      if (message === undefined) return;
      for (const listener of [...this.#listeners]) {
        try {
          listener(message);
        } catch (error) {
          this.#refuse(toMigrationError(error));
          return;
        }
      }
    }
  }

  #refuse(error: MigrationError): void {
    this.#refused = true;
    this.#backlog.length = 0;
    this.close(errorToCloseCode(error.code), error.message);
  }
}
