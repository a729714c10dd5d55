import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { CONTROL_PATH, PAGE_STREAM_PATH, PAGES_PATH } from '../../agent/link/link-paths.js';

/** A slow link passes pieces of this size. bytes */
const CRAWL_PIECE = 512;

/** What a fault is about: the whole link, control connections, all page streams, or one of these. */
export type LinkScope = 'link' | 'control' | 'pages' | { readonly stream: number };

/** A piece of what an agent says, before it goes on its way. */
export interface Passing {
  readonly carried: CarriedConnection;
  /** The node that says it. */
  readonly sender: string;
  /** Bytes that it said before on that connection. */
  readonly position: number;
  readonly bytes: Buffer;
}

/** Waits for something to pass. */
export interface Trap {
  /** How many bytes of it go on their way before the trap springs; null if it does not. */
  find(passing: Passing): number | null;
  /** What follows is held back until this has resolved. */
  spring(carried: CarriedConnection): Promise<void>;
}

/** What is wrong with the link between two agents, in both directions, and who waits for something to pass. */
export class LinkConditions {
  readonly connections = new Set<CarriedConnection>();
  readonly traps = new Set<Trap>();
  readonly #stalls = new Set<LinkScope>();
  readonly #ends = new Set<() => void>();
  /** Each piece is so much later. ms */
  latencyMs = 0;
  /** Infinity: as fast as it goes. */
  bytesPerSecond = Infinity;
  /** New connections are reset. */
  refusing = false;

  /** Nothing passes any more, and nobody is told. Returns how to end that: then all of it goes on its way. */
  stall(scope: LinkScope): () => void {
    // A scope of its own, as another stall may be the same.
    const stall = typeof scope === 'string' ? scope : { ...scope };
    this.#stalls.add(stall);
    return () => {
      this.#stalls.delete(stall);
      for (const end of [...this.#ends]) end();
    };
  }

  /** Resets connections. */
  cut(scope: LinkScope): void {
    for (const carried of this.matching(scope)) carried.reset();
  }

  /** Says to the other end that `sender` has said its last word, and drops whatever it says from then on. */
  closeHalf(scope: LinkScope, sender: string): void {
    for (const carried of this.matching(scope)) carried.closeHalf(sender);
  }

  matching(scope: LinkScope): CarriedConnection[] {
    return [...this.connections].filter((carried) => carried.isIn(scope));
  }

  /** Resolves when nothing holds that connection back. */
  async passable(carried: CarriedConnection): Promise<void> {
    while ([...this.#stalls].some((scope) => carried.isIn(scope))) {
      await new Promise<void>((resolve) => {
        const end = () => {
          this.#ends.delete(end);
          resolve();
        };
        this.#ends.add(end);
      });
    }
  }

  /** As it was made; who still waits is forgotten. */
  mend(): void {
    this.traps.clear();
    this.latencyMs = 0;
    this.bytesPerSecond = Infinity;
    this.refusing = false;
    this.#stalls.clear();
    for (const end of [...this.#ends]) end();
  }
}

/** Where one agent reaches another one: what passes is carried by `conditions`. */
export class LinkProxy {
  readonly #server: Server;
  readonly #conditions: LinkConditions;

  /** `dialer` reaches `serving` through it. */
  static async listen(conditions: LinkConditions, dialer: string, serving: string): Promise<LinkProxy> {
    const proxy = new LinkProxy(conditions, dialer, serving);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  /** Port of the agent, which is known once it serves. */
  upstreamPort = 0;

  private constructor(conditions: LinkConditions, dialer: string, serving: string) {
    this.#conditions = conditions;
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
      if (conditions.refusing) {
        near.resetAndDestroy();
        return;
      }
      const far = connect({ port: this.upstreamPort, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
      new CarriedConnection(conditions, { [dialer]: near, [serving]: far });
    });
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#server.close();
    for (const carried of this.#conditions.connections) carried.reset();
    if (this.#server.listening) await once(this.#server, 'close');
  }
}

/** One connection between the agents. */
export class CarriedConnection {
  /** What it is for, once its first bytes have shown that. */
  purpose: 'control' | 'pages' | null = null;
  /** Number of a page stream. */
  stream = 0;
  /** It is that of a migration, not of a question: it has asked for the lock. */
  migrates = false;
  readonly #conditions: LinkConditions;
  readonly #sockets: Readonly<Record<string, Socket>>;
  /** Nodes of which nothing is passed on. */
  readonly #silenced = new Set<string>();

  /** `sockets`: by node, the dialling one first. */
  constructor(conditions: LinkConditions, sockets: Readonly<Record<string, Socket>>) {
    this.#conditions = conditions;
    this.#sockets = sockets;
    conditions.connections.add(this);
    const [dialer, serving] = Object.keys(sockets) as [string, string];
    for (const socket of Object.values(sockets)) {
      // What fails is told to the other side by carry().
      socket.on('error', () => undefined);
    }
    void Promise.allSettled([this.#carry(dialer, serving), this.#carry(serving, dialer)]).then(() => {
      for (const socket of Object.values(sockets)) socket.destroy();
      conditions.connections.delete(this);
    });
  }

  isIn(scope: LinkScope): boolean {
    if (scope === 'link') return true;
    if (typeof scope === 'string') return this.purpose === scope;
    return this.purpose === 'pages' && this.stream === scope.stream;
  }

  reset(): void {
    for (const socket of Object.values(this.#sockets)) socket.resetAndDestroy();
  }

  closeHalf(sender: string): void {
    this.#silenced.add(sender);
    for (const [node, socket] of Object.entries(this.#sockets)) if (node !== sender) socket.end();
  }

  async #carry(sender: string, receiver: string): Promise<void> {
    const from = this.#sockets[sender]!;
    const to = this.#sockets[receiver]!;
    let position = 0;
    try {
      // The other direction goes on when this one has ended.
      const chunks = from.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>;
      for await (const chunk of chunks) {
        this.#recognize(chunk);
        for (let rest = chunk; rest.length > 0;) {
          const found = this.#nextTrap({ carried: this, sender, position, bytes: rest });
          const bytes = rest.subarray(0, found?.at);
          await this.#pass(sender, to, bytes);
          position += bytes.length;
          rest = rest.subarray(bytes.length);
          if (found === null) continue;
          this.#conditions.traps.delete(found.trap);
          await found.trap.spring(this);
        }
      }
      await this.#conditions.passable(this);
      if (!this.#silenced.has(sender)) to.end();
      // A socket that was reset while nothing was read of it ends without an error.
      if (from.errored) to.resetAndDestroy();
    } catch {
      await this.#conditions.passable(this);
      to.resetAndDestroy();
    }
  }

  #recognize(chunk: Buffer): void {
    if (this.purpose === null) {
      const head = chunk.toString('latin1', 0, 300);
      this.purpose = head.includes(CONTROL_PATH) ? 'control' : 'pages';
      if (head.includes(PAGES_PATH) || head.includes(PAGE_STREAM_PATH)) {
        this.stream = Number(/[?&]stream=(\d+)/.exec(head)?.[1] ?? 0);
      }
    }
    this.migrates ||= this.purpose === 'control' && chunk.includes(messageMarker('lock-request'));
  }

  #nextTrap(passing: Passing): { trap: Trap; at: number } | null {
    let next: { trap: Trap; at: number } | null = null;
    for (const trap of this.#conditions.traps) {
      const at = trap.find(passing);
      if (at !== null && (next === null || at < next.at)) next = { trap, at };
    }
    return next;
  }

  async #pass(sender: string, to: Socket, bytes: Buffer): Promise<void> {
    const { latencyMs, bytesPerSecond } = this.#conditions;
    if (latencyMs > 0) await delay(latencyMs);
    const size = bytesPerSecond === Infinity ? bytes.length : CRAWL_PIECE;
    for (let at = 0; at < bytes.length; at += size) {
      if (this.#conditions.bytesPerSecond !== Infinity) await delay((size / bytesPerSecond) * 1000);
      await this.#conditions.passable(this);
      if (this.#silenced.has(sender)) return;
      if (to.destroyed) throw new Error('its other end is gone');
      if (!to.write(bytes.subarray(at, at + size))) await writable(to);
    }
  }
}

/** Resolves once more may be written to a socket, or nothing any more. */
function writable(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      socket.off('drain', done).off('close', done);
      resolve();
    };
    socket.on('drain', done).on('close', done);
    if (socket.destroyed) done();
  });
}

/** By which a control message is found in what passes: in MessagePack a short text has its length in its first byte. */
export function messageMarker(type: string): Buffer {
  return Buffer.concat([Buffer.from('type'), Buffer.from([0xa0 + type.length]), Buffer.from(type)]);
}
