import { isIPv6 } from 'node:net';

/** Groups of an IPv6 address that tell one customer's network from another: a host can have any address in its /64. */
const IPV6_NETWORK_GROUPS = 4;

/**
 * Whom a connection is counted for, by the address of its other end: an IPv4 address, or the /64 network of an IPv6 one. Null
 * where there is none: a unix socket, which the file system guards.
 */
export function remoteParty(address: string | undefined): string | null {
  if (address === undefined || address === '') return null;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  const plain = address.replace(/%.*$/, '');
  if (!isIPv6(plain)) return address;
  return `${ipv6Groups(plain).slice(0, IPV6_NETWORK_GROUPS).join(':')}::/64`;
}

function ipv6Groups(address: string): string[] {
  const [head = '', tail] = address.toLowerCase().split('::');
  const before = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = Array.from({ length: Math.max(0, 8 - before.length - after.length) }, () => '0');
  return [...before, ...zeros, ...after];
}

/** How many things of a kind each remote party has. */
export class CountByParty {
  readonly #counts = new Map<string, number>();

  of(party: string | null): number {
    return party === null ? 0 : (this.#counts.get(party) ?? 0);
  }

  /** Counts one more; returns how to count it no more, harmless when repeated. */
  add(party: string | null): () => void {
    if (party === null) return () => undefined;
    this.#counts.set(party, this.of(party) + 1);
    let counted = true;
    return () => {
      if (!counted) return;
      counted = false;
      const left = this.of(party) - 1;
      if (left > 0) this.#counts.set(party, left);
      else this.#counts.delete(party);
    };
  }
}
