import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { MigrationError, toMigrationError } from '../../shared/errors.js';
import type { Credentials } from '../../shared/tls/credentials.js';
import { PAGE_STREAM_PATH, PAGE_STREAM_PROTOCOL } from './link-paths.js';
import { PAGE_TOKEN_HEADER } from './page-token.js';
import { dialFailure, peerTlsOptions } from './peer-identity.js';
import { systemTimers, type Timers } from '../../shared/timers.js';
import { refusalOf } from './upgrade-refusal.js';

/**
 * The receiving end of a page stream over plain TCP: the target dials the source's one port, asks for an upgrade, and
 * from then on the source sends frames and the target nothing. The target is who dials since only a socket that was made
 * by connect() can be told, for each read, where the next bytes belong ('onread'): pages go from the kernel straight into
 * guest memory.
 */

/** Time for the connection and the upgrade: after it pages go over WebSocket instead. ms */
export const TCP_DIAL_TIMEOUT_MS = 2000;

/** What is read where no place is known for it: headers, small frames, and the first part of large ones. bytes */
const STAGING_BYTES = 32 * 1024;

/** Payload that is worth a read of its own. bytes */
const LEAST_DIRECT_BYTES = 16 * 1024;

/** Longest answer to the upgrade request. bytes */
const MAX_ANSWER_BYTES = 16 * 1024;

const END_OF_HEAD = '\r\n\r\n';

/** Where a stream's bytes go: a FrameDecoder. What it throws ends the stream. */
export interface PageIntake {
  space(leastBytes: number): Uint8Array | null;
  filled(bytes: number): void;
  write(chunk: Uint8Array): void;
  readonly atBoundary: boolean;
}

export interface TcpPagesOptions {
  /** Where the source's agent serves: http://HOST:PORT or https://... */
  readonly url: string;
  /** Names the source in errors. */
  readonly peer: string;
  /** What this node shows, and the node whose certificate the source must show; null: no TLS. */
  readonly tls?: PageTls | null;
  readonly migrationId: string;
  readonly stream: number;
  readonly token: string;
  readonly intake: PageIntake;
  /** Where a frame's payload has no place of its own it is gathered in pieces of this size. bytes */
  readonly stagingBytes?: number;
  /** Once: null if the source closed it in good order between two frames, else what went wrong. Only after it was opened. */
  readonly onEnd: (error: MigrationError | null) => void;
  readonly timers?: Pick<Timers, 'after'>;
  readonly timeoutMs?: number;
  /** Gives the dial up; an open stream is ended by close(). */
  readonly signal?: AbortSignal;
}

/** Passed to threads. */
export interface PageTls {
  readonly credentials: Credentials;
  readonly node: string;
}

/** An open stream. */
export interface TcpPages {
  /** Ends it at once; harmless when repeated. onEnd is not called. */
  close(): void;
}

/**
 * Opens one. Rejects with peer-unreachable, peer-untrusted, wrong-node, timeout, the reason of the signal, or the error with which the
 * source refused.
 */
export function dialTcpPages(options: TcpPagesOptions): Promise<TcpPages> {
  return new Promise((resolve, reject) => {
    new Dial(options, resolve, reject);
  });
}

class Dial implements TcpPages {
  readonly #options: TcpPagesOptions;
  readonly #socket: Socket;
  readonly #staging: Buffer;
  readonly #cancelTimeout: () => void;
  readonly #onAbort = () => this.#end(toMigrationError(this.#options.signal?.reason, 'cancelled'));
  readonly #opened: (pages: TcpPages) => void;
  readonly #refused: (error: MigrationError) => void;
  #answer = Buffer.alloc(0);
  #state: 'dialling' | 'open' | 'ended' = 'dialling';
  /** What is read next goes straight into guest memory. */
  #direct = false;

  constructor(
    options: TcpPagesOptions,
    opened: (pages: TcpPages) => void,
    refused: (error: MigrationError) => void,
  ) {
    const { url, timers = systemTimers, timeoutMs = TCP_DIAL_TIMEOUT_MS } = options;
    this.#options = options;
    this.#opened = opened;
    this.#refused = refused;
    this.#staging = Buffer.allocUnsafeSlow(options.stagingBytes ?? STAGING_BYTES);
    const { protocol, hostname, port, host } = new URL(url);
    const secure = protocol === 'https:';
    const where = {
      host: hostname.replace(/^\[|\]$/g, ''),
      port: Number(port) || (secure ? 443 : 80),
      noDelay: true,
      onread: { buffer: () => this.#space(), callback: (bytes: number) => this.#read(bytes) },
    };
    const { tls } = options;
    this.#socket = secure
      ? connectTls({ ...where, ...(tls && peerTlsOptions(tls.credentials, tls.node)) })
      : connect(where);
    this.#cancelTimeout = timers.after(timeoutMs, () => {
      const text = `${options.peer} did not answer at ${url} within ${timeoutMs} ms`;
      this.#end(this.#answer.length > 0 ? this.#refusal() : new MigrationError('timeout', text));
    });
    this.#socket.on('error', (error) => this.#end(this.#failed(error)));
    this.#socket.on('end', () => this.#ended());
    this.#socket.on('close', () => this.#end(this.#lost('the connection broke')));
    this.#socket.once(secure ? 'secureConnect' : 'connect', () => this.#socket.write(request(options, host)));
    options.signal?.addEventListener('abort', this.#onAbort, { once: true });
    if (options.signal?.aborted) this.#onAbort();
  }

  close(): void {
    if (this.#state === 'ended') return;
    this.#state = 'ended';
    this.#settled();
    this.#socket.destroy();
  }

  /** It is no dial any more. */
  #settled(): void {
    this.#cancelTimeout();
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
  }

  #space(): Uint8Array {
    const space = this.#state === 'open' ? this.#spaceOfIntake() : null;
    this.#direct = space !== null;
    return space ?? this.#staging;
  }

  #spaceOfIntake(): Uint8Array | null {
    try {
      return this.#options.intake.space(LEAST_DIRECT_BYTES);
    } catch {
      // It has failed: what is read next is refused by write(), with the reason.
      return null;
    }
  }

  /** False stops reading. */
  #read(bytes: number): boolean {
    if (this.#state === 'ended') return false;
    try {
      if (this.#direct) this.#options.intake.filled(bytes);
      else if (this.#state === 'open') this.#options.intake.write(this.#staging.subarray(0, bytes));
      else this.#readAnswer(this.#staging.subarray(0, bytes));
    } catch (error) {
      this.#end(toMigrationError(error));
      return false;
    }
    return true;
  }

  /** The head of the answer to the upgrade request; what follows it are frames. */
  #readAnswer(chunk: Buffer): void {
    this.#answer = Buffer.concat([this.#answer, chunk]);
    const end = this.#answer.indexOf(END_OF_HEAD);
    if (end >= 0 && /^HTTP\/1\.1 101 /.test(this.#answer.toString('latin1', 0, 16))) {
      const frames = this.#answer.subarray(end + END_OF_HEAD.length);
      this.#answer = Buffer.alloc(0);
      this.#settled();
      this.#state = 'open';
      this.#opened(this);
      if (frames.length > 0) this.#options.intake.write(frames);
    } else if (this.#answer.length > MAX_ANSWER_BYTES || (end >= 0 && this.#hasBody(end))) {
      throw this.#refusal();
    }
  }

  /** Whether the answer is complete, as far as its head tells: who sent it may keep the connection. */
  #hasBody(end: number): boolean {
    const length = /\r\ncontent-length: *(\d+)\r\n/i.exec(this.#answer.toString('latin1', 0, end + 2))?.[1];
    return length !== undefined && this.#answer.length >= end + END_OF_HEAD.length + Number(length);
  }

  /** The source has said its last byte. */
  #ended(): void {
    const { intake, peer, stream } = this.#options;
    if (this.#state === 'dialling') this.#end(this.#refusal());
    else if (intake.atBoundary) this.#end(null);
    else this.#end(new MigrationError('link-lost', `${peer} closed page stream ${stream} within a frame`));
  }

  #refusal(): MigrationError {
    const text = this.#answer.toString('utf8');
    const end = text.indexOf(END_OF_HEAD);
    const status = /^HTTP\/1\.\d (\d{3})/.exec(text)?.[1] ?? 'none';
    const body = end < 0 ? '' : text.slice(end + END_OF_HEAD.length);
    return refusalOf(body, status, this.#options.peer, this.#options.url);
  }

  #failed(error: Error): MigrationError {
    const lost = (reason: string, cause?: unknown) => this.#lost(reason, cause);
    return this.#state === 'dialling' ? dialFailure(error, lost) : lost(error.message, error);
  }

  #lost(reason: string, cause?: unknown): MigrationError {
    const { peer, stream, url } = this.#options;
    return this.#state === 'dialling'
      ? new MigrationError('peer-unreachable', `${peer} cannot be reached at ${url}: ${reason}`, { cause })
      : new MigrationError('link-lost', `page stream ${stream} from ${peer} was lost: ${reason}`, { cause });
  }

  #end(error: MigrationError | null): void {
    if (this.#state === 'ended') return;
    const wasOpen = this.#state === 'open';
    this.close();
    if (wasOpen) this.#options.onEnd(error);
    else this.#refused(error ?? this.#refusal());
  }
}

function request({ migrationId, stream, token }: TcpPagesOptions, host: string): string {
  return (
    `GET ${PAGE_STREAM_PATH}?migration=${encodeURIComponent(migrationId)}&stream=${stream} HTTP/1.1\r\n` +
    `Host: ${host}\r\nConnection: Upgrade\r\nUpgrade: ${PAGE_STREAM_PROTOCOL}\r\n` +
    `${PAGE_TOKEN_HEADER}: ${token}\r\n\r\n`
  );
}
