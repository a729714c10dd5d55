import type { Socket } from 'node:net';

/** The descriptor of a socket, also of one under TLS; null where it can't be told: which one it has is no documented property. */
export function descriptorOf(socket: Socket): number | null {
  const { _handle } = socket as Socket & { readonly _handle?: { readonly fd?: number } | null };
  const fd = _handle?.fd;
  return fd === undefined || fd < 0 ? null : fd;
}
