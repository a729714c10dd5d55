import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import type { TargetMessage } from '../../shared/protocol/messages.js';
import type { AgentLab } from './agent-lab.js';

/** Carries what two agents say to each other, and holds back what the target says from a message on that a test names. */
export class HeldLink {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Lets go of what one connection holds back. */
  readonly #held = new Set<() => void>();
  #marker: Buffer | null = null;
  /** How many messages with the marker go by first. */
  #passing = 0;
  #onHeld: () => void = () => undefined;

  /** Lets the agent of `from` reach the one of `to` through it, until the test ends. Restarts the former. */
  static async between(
    t: { teardown(callback: () => void): void },
    lab: AgentLab,
    from: string,
    to: string,
  ): Promise<HeldLink> {
    const { url } = lab.agent(to);
    const link = new HeldLink(Number(new URL(url).port));
    t.teardown(() => link.#close());
    link.#server.listen(0, '127.0.0.1');
    await once(link.#server, 'listening');
    await lab.agent(from).stop();
    const file = join(lab.directory, `${from}.yaml`);
    const { port } = link.#server.address() as AddressInfo;
    await writeFile(file, (await readFile(file, 'utf8')).replace(url, `http://127.0.0.1:${port}`));
    await lab.restart(from);
    return link;
  }

  private constructor(port: number) {
    this.#server = createServer((near) => {
      const far = connect(port, '127.0.0.1');
      for (const socket of [near, far]) {
        this.#sockets.add(socket);
        socket.on('error', () => undefined).on('close', () => this.#sockets.delete(socket));
      }
      near.pipe(far);
      far.on('data', (chunk) => this.#carry(chunk, far, near));
      far.on('end', () => near.end());
    });
  }

  /** Resolves once a message of that type, after so many others of it, has come and is held back with all that follows it. */
  hold(type: TargetMessage['type'], after = 0): Promise<void> {
    this.#passing = after;
    // MessagePack: a short text has its length in its first byte.
    this.#marker = Buffer.concat([Buffer.from('type'), Buffer.from([0xa0 + type.length]), Buffer.from(type)]);
    return new Promise((resolve) => (this.#onHeld = resolve));
  }

  /** What was held back goes on its way. Harmless when nothing is. */
  release(): void {
    this.#marker = null;
    for (const letGo of this.#held) letGo();
    this.#held.clear();
  }

  #carry(chunk: Buffer, far: Socket, near: Socket): void {
    const isHeld = this.#marker !== null && chunk.includes(this.#marker) && this.#passing-- === 0;
    if (!isHeld) {
      near.write(chunk);
      return;
    }
    far.pause();
    this.#held.add(() => {
      near.write(chunk);
      far.resume();
    });
    this.#onHeld();
  }

  #close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}
