import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { request as requestTls } from 'node:https';
import type { Duplex } from 'node:stream';
import type { SecureContextOptions } from 'node:tls';
import { WebSocket } from 'ws';
import { CONTROL_PATH, PAGES_PATH } from '../../agent/link/link-paths.js';
import { PAGE_TOKEN_HEADER } from '../../agent/link/page-token.js';
import type { ErrorBody } from '../../shared/errors.js';
import { decodeTargetMessage, encodeSourceMessage } from '../../shared/protocol/control-codec.js';
import type { SourceMessage, TargetMessage } from '../../shared/protocol/messages.js';

export interface Closed {
  readonly code: number;
  readonly reason: string;
}

/** One WebSocket to an agent, with no manners: sends what it is told, keeps what it hears. */
export class RawSocket {
  readonly closed: Promise<Closed>;
  readonly heard: Buffer[] = [];
  readonly #socket: WebSocket;

  static async open(
    url: string,
    path: string,
    headers: Record<string, string> = {},
    localAddress = '127.0.0.1',
    tls: SecureContextOptions = {},
  ): Promise<RawSocket> {
    const socket = new WebSocket(url.replace(/^http/, 'ws') + path, {
      headers,
      localAddress,
      perMessageDeflate: false,
      ...tls,
    });
    const raw = new RawSocket(socket);
    await once(socket, 'open');
    return raw;
  }

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on('message', (data: Buffer) => this.heard.push(data));
    this.closed = once(socket, 'close').then((values) => {
      const [code, reason] = values as [number, Buffer];
      return { code, reason: reason.toString() };
    });
    socket.on('error', () => undefined);
    // Of one that is refused nobody asks how it ended.
    this.closed.catch(() => undefined);
  }

  send(data: Uint8Array | string): void {
    this.#socket.send(data);
  }

  /** The next message that comes, none of those heard before. */
  async message(): Promise<void> {
    await Promise.race([once(this.#socket, 'message'), this.closed]);
  }

  /** Cuts the connection without a close. */
  cut(): void {
    this.#socket.terminate();
  }
}

type TypeOf = TargetMessage['type'];

/** A source that follows the protocol as far as a test wants it to. */
export class RawPeer {
  readonly socket: RawSocket;
  readonly url: string;
  readonly migrationId: string;

  /** A control connection, not introduced yet; `tls`: for an agent with TLS. */
  static async connect(url: string, migrationId: string, tls?: SecureContextOptions): Promise<RawPeer> {
    return new RawPeer(await RawSocket.open(url, CONTROL_PATH, {}, undefined, tls), url, migrationId);
  }

  private constructor(socket: RawSocket, url: string, migrationId: string) {
    this.socket = socket;
    this.url = url;
    this.migrationId = migrationId;
  }

  say(message: SourceMessage): this {
    this.socket.send(encodeSourceMessage(message));
    return this;
  }

  /** The first message of one of the types, of those heard or to come. Fails if the connection ends without it. */
  async hear<T extends TypeOf>(...types: T[]): Promise<Extract<TargetMessage, { type: T }>> {
    let closed = false;
    void this.socket.closed.then(() => (closed = true));
    for (;;) {
      for (const data of this.socket.heard) {
        const message = decodeTargetMessage(data);
        if ((types as TypeOf[]).includes(message.type)) return message as Extract<TargetMessage, { type: T }>;
      }
      if (closed) throw new Error(`the connection ended without ${types.join(' or ')}`);
      await this.socket.message();
    }
  }

  /** All messages that came so far. */
  said(): TargetMessage[] {
    return this.socket.heard.map((data) => decodeTargetMessage(data));
  }

  async greet(hello: Partial<Extract<SourceMessage, { type: 'hello' }>> = {}): Promise<this> {
    this.say({
      type: 'hello',
      versions: { min: 1, max: 1 },
      node: 'evil',
      to: 'a',
      agent: 'a test',
      features: [],
      migrationId: this.migrationId,
      ...hello,
    });
    await this.hear('welcome');
    return this;
  }

  /** Takes the node's lock, as soon as it is free. */
  async lock(vm = 'intruder'): Promise<this> {
    this.say({ type: 'lock-request', vm, requestedAt: 1 }).say({ type: 'lock-try' });
    await this.hear('lock-granted', 'lock-offer');
    return this.say({ type: 'lock-confirm' });
  }

  /** Prepares a guest of 1 MiB; the token of its page connections. */
  async prepare(overrides: Partial<Extract<SourceMessage, { type: 'prepare' }>> = {}): Promise<string> {
    this.say(prepareMessage(overrides));
    return (await this.hear('prepared')).token;
  }

  async pages(token: string, stream: number | string = 0, tls?: SecureContextOptions): Promise<RawSocket> {
    const path = `${PAGES_PATH}?migration=${this.migrationId}&stream=${stream}`;
    return await RawSocket.open(this.url, path, { [PAGE_TOKEN_HEADER]: token }, undefined, tls);
  }
}

export function prepareMessage(
  overrides: Partial<Extract<SourceMessage, { type: 'prepare' }>> = {},
): Extract<SourceMessage, { type: 'prepare' }> {
  return {
    type: 'prepare',
    definition: {
      name: 'intruder',
      kind: 'embedded',
      memory: 2 ** 20,
      program: 'idle',
      parameters: {},
    },
    imageBytes: 0,
    regions: [{ name: 'ram', bytes: 2 ** 20 }],
    traits: {},
    streams: 1,
    verify: 'off',
    dryRun: false,
    ...overrides,
  };
}

/** How an agent refuses to upgrade a request: the HTTP status and the error. */
export async function refusedUpgrade(
  url: string,
  path: string,
  headers: Record<string, string> = {},
  tls: SecureContextOptions = {},
): Promise<{ status: number | undefined; error: ErrorBody }> {
  const asking = (url.startsWith('https:') ? requestTls : request)(url + path, {
    agent: false,
    ...tls,
    headers: {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': Buffer.alloc(16).toString('base64'),
      ...headers,
    },
  });
  const upgraded = once(asking, 'upgrade').then(([, socket]) => {
    (socket as Duplex).destroy();
    throw new Error(`the upgrade to ${path} was not refused`);
  });
  asking.end();
  const answered = once(asking, 'response') as Promise<[IncomingMessage]>;
  const [response] = await Promise.race([answered, upgraded]);
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  const { error } = JSON.parse(Buffer.concat(chunks).toString()) as { error: ErrorBody };
  return { status: response.statusCode, error };
}
