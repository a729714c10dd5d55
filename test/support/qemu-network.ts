import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface, type Interface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';
import type { AgentPlace } from '../../scripts/lab/agent-process.js';
import { ip, NetworkNamespaces } from '../../scripts/lab/network-namespaces.js';

interface Test {
  teardown(callback: () => Promise<void>): void;
}

/** A network that nobody else is likely to have. */
const NETWORK = '10.213.77';

/** The device on each host that a guest's NIC is attached to. */
export const TAP = 'tap0';

/**
 * Hosts as network namespaces, each with a bridge that joins its tap device and its uplink; a bridge on this host
 * joins the uplinks, and this host reaches agents and guests through it.
 */
export class HostNetwork {
  readonly #namespaces = new NetworkNamespaces();
  readonly #nodes: readonly string[];

  static async create(t: Test, nodes: readonly string[]): Promise<HostNetwork> {
    const network = new HostNetwork(nodes);
    t.teardown(() => Promise.resolve(network.#namespaces.removeNow()));
    await network.#create();
    return network;
  }

  private constructor(nodes: readonly string[]) {
    this.#nodes = nodes;
  }

  /** Where the agent of a node runs. */
  readonly placeOf = (node: string): AgentPlace => ({
    host: this.#address(node),
    launcher: this.#namespaces.launcher(node),
  });

  /** An address for a guest, and the length of the network's prefix. */
  guestAddress(number: number): { address: string; prefixed: string } {
    const address = `${NETWORK}.${100 + number}`;
    return { address, prefixed: `${address}/24` };
  }

  async #create(): Promise<void> {
    const bridge = this.#namespaces.device();
    await ip('link', 'add', bridge, 'type', 'bridge');
    await ip('address', 'add', `${NETWORK}.254/24`, 'dev', bridge);
    await ip('link', 'set', bridge, 'up');
    for (const node of this.#nodes) {
      const namespace = await this.#namespaces.add(node);
      const port = this.#namespaces.device(node);
      await ip('link', 'add', port, 'type', 'veth', 'peer', 'name', 'uplink', 'netns', namespace);
      await ip('link', 'set', port, 'master', bridge, 'up');
      const inside = ['-n', namespace];
      await ip(...inside, 'link', 'add', 'br0', 'type', 'bridge');
      await ip(...inside, 'address', 'add', `${this.#address(node)}/24`, 'dev', 'br0');
      await ip(...inside, 'tuntap', 'add', TAP, 'mode', 'tap');
      for (const device of ['uplink', TAP]) await ip(...inside, 'link', 'set', device, 'master', 'br0', 'up');
      await ip(...inside, 'link', 'set', 'br0', 'up');
    }
  }

  #address(node: string): string {
    return `${NETWORK}.${1 + this.#nodes.indexOf(node)}`;
  }
}

/** Asks an address for a sign of life every 10 ms. */
export class Pings {
  /** When each answer came, in Unix ms. */
  readonly answers: number[] = [];
  readonly #lines: Interface;

  constructor(t: Test, address: string) {
    const child = spawn('ping', ['-n', '-D', '-i', '0.01', address], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    t.teardown(() => Promise.resolve(void child.kill('SIGKILL')));
    this.#lines = createInterface(child.stdout);
    this.#lines.on('line', (line) => {
      const at = /^\[(\d+\.\d+)\] \d+ bytes from /.exec(line)?.[1];
      if (at !== undefined) this.answers.push(Number(at) * 1000);
    });
  }

  /** Resolves once an answer came after `time`, in Unix ms. */
  async after(time: number): Promise<void> {
    while ((this.answers.at(-1) ?? 0) <= time) await once(this.#lines, 'line');
  }
}

/** The longest time without an answer of those that reach into [from, to]. ms */
export function longestGap(answers: readonly number[], from: number, to: number): number {
  const gaps = answers.slice(1).flatMap((end, index) => {
    const start = answers[index]!;
    return end >= from && start <= to ? [end - start] : [];
  });
  return Math.max(...gaps);
}

/** One TCP connection to an echo server, which is asked again and again; nothing that it says may be lost. */
export class EchoConnection {
  readonly #socket: Socket;
  readonly #lines: AsyncIterator<string>;
  #ended = false;
  #turns = 0;
  #turning: Promise<void> | undefined;

  static async open(t: Test, address: string): Promise<EchoConnection> {
    const socket = connect(7, address);
    t.teardown(() => Promise.resolve(void socket.destroy()));
    await once(socket, 'connect');
    const echo = new EchoConnection(socket, createInterface(socket));
    echo.#turning = echo.#turn();
    // end() tells.
    echo.#turning.catch(() => undefined);
    return echo;
  }

  private constructor(socket: Socket, lines: Interface) {
    this.#socket = socket;
    this.#lines = lines[Symbol.asyncIterator]();
  }

  /** Ends the turns and the connection; how many there were. Throws if it broke or an answer was wrong. */
  async end(): Promise<number> {
    this.#ended = true;
    await this.#turning;
    this.#socket.end();
    return this.#turns;
  }

  async #turn(): Promise<void> {
    while (!this.#ended) {
      const said = `turn ${(this.#turns += 1)}`;
      this.#socket.write(`${said}\n`);
      const answer = await this.#lines.next();
      const heard = answer.done === true ? 'the end of the connection' : `'${answer.value}'`;
      if (heard !== `'${said}'`) throw new Error(`'${said}' was answered by ${heard}`);
      await setTimeout(1);
    }
  }
}
