import type { ServerResponse } from 'node:http';
import type { FastifyReply } from 'fastify';
import { MigrationError, toMigrationError } from '../../shared/errors.js';
import { CountByParty, remoteParty } from '../admission/remote-address.js';
import { errorAnswer } from './error-answer.js';
import type { ApiLimits } from './limits.js';

/** One server-sent event: `data` is sent as JSON; a client that reconnects says the last `id` that it has seen. */
export interface StreamEvent {
  readonly event: string;
  readonly id?: number;
  readonly data: unknown;
}

/** `event` in the format of an event stream (WHATWG HTML, 'server-sent events'). JSON has no line break. */
export function formatEvent({ event, id, data }: StreamEvent): string {
  const idLine = id === undefined ? '' : `id: ${id}\n`;
  return `event: ${event}\n${idLine}data: ${JSON.stringify(data)}\n\n`;
}

/**
 * The open event streams of an agent. A stream ends with its source, with the client, or when the agent shuts down;
 * a failure after its start is its last event: `error`, with an ErrorBody. One event at most waits for a slow client:
 * the source is asked for the next when the last one left, and a client that takes none for too long is dropped.
 */
export class EventStreams {
  readonly #limits: ApiLimits;
  readonly #open = new Set<AbortController>();
  readonly #parties = new CountByParty();
  #closed = false;

  constructor(limits: ApiLimits) {
    this.#limits = limits;
  }

  /** Streams open now. */
  get count(): number {
    return this.#open.size;
  }

  /**
   * Takes over the response and sends what `source` yields until it ends. `source` is to end when its signal fires.
   * Throws limit-exceeded or shutting-down, with the response untouched; what fails later is an event.
   */
  async serve(
    reply: FastifyReply,
    source: (signal: AbortSignal) => AsyncGenerator<StreamEvent>,
  ): Promise<void> {
    if (this.#closed)
      throw new MigrationError('shutting-down', 'the agent is shutting down: no stream is opened');
    if (this.#open.size >= this.#limits.eventStreams) {
      throw new MigrationError(
        'limit-exceeded',
        `the agent has ${this.#open.size} event streams open, its limit: close one, or try again later`,
      );
    }
    const party = remoteParty(reply.raw.socket?.remoteAddress);
    const { eventStreamsPerAddress } = this.#limits;
    if (this.#parties.of(party) >= eventStreamsPerAddress) {
      throw new MigrationError(
        'limit-exceeded',
        `${party} has ${eventStreamsPerAddress} event streams open, the most that one address may have: close one`,
      );
    }
    const uncount = this.#parties.add(party);
    const ending = new AbortController();
    this.#open.add(ending);
    reply.hijack();
    const response = reply.raw;
    response.on('close', () => ending.abort());
    response.on('error', () => ending.abort());
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      // a stream that ends at shutdown leaves no idle connection that close() would wait for
      connection: 'close',
      // nginx would collect events before it passes them on
      'x-accel-buffering': 'no',
    });
    response.flushHeaders();
    const heartbeat = setInterval(() => {
      if (!response.writableNeedDrain) response.write(': alive\n\n');
    }, this.#limits.heartbeatMs);
    try {
      await this.#pump(response, source(ending.signal), ending.signal);
    } catch (thrown) {
      const { error } = errorAnswer(thrown).answer;
      if (error.code === 'internal')
        reply.log.error({ err: toMigrationError(thrown) }, 'an event stream failed');
      if (response.writable) response.write(formatEvent({ event: 'error', data: error }));
    } finally {
      clearInterval(heartbeat);
      ending.abort();
      this.#open.delete(ending);
      uncount();
      response.end();
    }
  }

  /** Ends every stream with a shutting-down event and opens no other. */
  close(): void {
    this.#closed = true;
    for (const ending of this.#open) {
      ending.abort(new MigrationError('shutting-down', 'the agent is shutting down: the stream ends'));
    }
  }

  async #pump(
    response: ServerResponse,
    source: AsyncGenerator<StreamEvent>,
    signal: AbortSignal,
  ): Promise<void> {
    // a source that is slow to notice the signal must not keep the stream, nor the agent's shutdown, waiting
    const ended = new Promise<'ended'>((resolve) => {
      signal.addEventListener('abort', () => resolve('ended'), { once: true });
    });
    try {
      while (!signal.aborted) {
        const next = await Promise.race([source.next(), ended]);
        if (next === 'ended' || next.done === true) break;
        if (!response.write(formatEvent(next.value))) await this.#drained(response, signal);
      }
    } finally {
      // on a source that still waits this settles late, or fails: nobody is interested any more
      source.return(undefined).catch(() => undefined);
    }
    if (signal.reason instanceof MigrationError) throw signal.reason;
  }

  /** Resolves when the client has taken what was written, or the stream ends; drops a client that does not. */
  async #drained(response: ServerResponse, signal: AbortSignal): Promise<void> {
    // the client may have gone in the write itself: neither event would come again
    if (signal.aborted) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => response.destroy(), this.#limits.drainTimeoutMs);
      const done = (): void => {
        clearTimeout(timer);
        response.off('drain', done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      response.once('drain', done);
      signal.addEventListener('abort', done, { once: true });
    });
  }
}
