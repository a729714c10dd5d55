import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { AgentPlace } from './agent-process.js';
import { ip, NetworkNamespaces } from './network-namespaces.js';
import { LINK_MTU, tokenBucket } from './token-bucket.js';

const run = promisify(execFile);

/** The device on each host that leads to the other one. */
export const LAB_LINK_DEVICE = 'link0';

/** Networks for benchmarks, by RFC 2544: nobody has them elsewhere. */
const LINK_NETWORK = '198.18.0';
const ACCESS_NETWORK = '198.19';

/** Networks of four addresses that ACCESS_NETWORK has room for, two for each lab. */
const ACCESS_NETWORKS = 2 ** 14;

/**
 * Two hosts on this machine as network namespaces. One pair of veth devices is the link between them, with a token bucket in
 * each direction; another pair leads from each to this host, so that what is asked of the agents does not compete with
 * what they send to each other. What still runs on the hosts ends with them.
 */
export class LabNetwork {
  readonly hosts: readonly [string, string];
  readonly #namespaces = new NetworkNamespaces();
  #capped = false;

  /** `bytesPerSecond`: the rate of the link; null for as fast as the machine is. */
  static async create(
    hosts: readonly [string, string],
    bytesPerSecond: number | null = null,
  ): Promise<LabNetwork> {
    if (process.getuid?.() !== 0) {
      throw new Error("a lab's hosts are network namespaces, which only root can make: run it as root");
    }
    const network = new LabNetwork(hosts);
    try {
      await network.#create();
      await network.setRate(bytesPerSecond);
    } catch (error) {
      network.remove();
      throw error;
    }
    return network;
  }

  private constructor(hosts: readonly [string, string]) {
    this.hosts = hosts;
  }

  /** Where the agent of a host runs. */
  readonly placeOf = (host: string): AgentPlace => ({
    host: this.linkAddress(host),
    apiHost: this.#access(host).there,
    launcher: this.launcher(host),
  });

  /** The address of a host on the link. */
  linkAddress(host: string): string {
    return `${LINK_NETWORK}.${1 + this.hosts.indexOf(host)}`;
  }

  /** The command that starts a program on a host, before the program. */
  launcher(host: string): string[] {
    return this.#namespaces.launcher(host);
  }

  /** Changes the rate of the link, in both directions. bytes/s; null: none */
  async setRate(bytesPerSecond: number | null): Promise<void> {
    if (bytesPerSecond === null && !this.#capped) return;
    for (const host of this.hosts) {
      await run('tc', ['-n', this.#namespaces.nameOf(host), ...tokenBucket(LAB_LINK_DEVICE, bytesPerSecond)]);
    }
    this.#capped = bytesPerSecond !== null;
  }

  /** Removes it, and ends what runs on its hosts. Harmless when repeated. */
  remove(): void {
    this.#namespaces.removeNow();
  }

  async #create(): Promise<void> {
    const [a, b] = this.hosts;
    const names = [await this.#namespaces.add(a), await this.#namespaces.add(b)];
    const ends = [
      'link',
      'add',
      LAB_LINK_DEVICE,
      'netns',
      names[0]!,
      'mtu',
      String(LINK_MTU),
      'type',
      'veth',
    ];
    await ip(...ends, 'peer', 'name', LAB_LINK_DEVICE, 'netns', names[1]!, 'mtu', String(LINK_MTU));
    for (const [index, host] of this.hosts.entries()) {
      const inside = ['-n', names[index]!];
      await ip(...inside, 'address', 'add', `${this.linkAddress(host)}/24`, 'dev', LAB_LINK_DEVICE);
      await ip(...inside, 'link', 'set', LAB_LINK_DEVICE, 'up');
      const { here, there } = this.#access(host);
      const device = this.#namespaces.device(String(index));
      await ip('link', 'add', device, 'type', 'veth', 'peer', 'name', 'access0', 'netns', names[index]!);
      await ip('address', 'add', `${here}/30`, 'dev', device);
      await ip('link', 'set', device, 'up');
      await ip(...inside, 'address', 'add', `${there}/30`, 'dev', 'access0');
      await ip(...inside, 'link', 'set', 'access0', 'up');
    }
  }

  /** Addresses of both ends of the way from this host to that one: others for each process that has a lab. */
  #access(host: string): { here: string; there: string } {
    const network = (process.pid * 2 + this.hosts.indexOf(host)) % ACCESS_NETWORKS;
    const address = (last: number) => `${ACCESS_NETWORK}.${network >> 6}.${((network & 63) << 2) + last}`;
    return { here: address(1), there: address(2) };
  }
}
