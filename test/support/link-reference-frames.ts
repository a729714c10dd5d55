/**
 * A second, slow implementation of the frame format, written from the byte table in PROTOCOL.md: whole streams at
 * once, 64-bit fields as bigint. What the incremental decoder does is compared with it.
 */

/** Any values, valid or not. */
export interface ReferenceHeader {
  type: number;
  flags: number;
  region: number;
  payloadBytes: number;
  position: bigint;
  count: number;
  reserved: number;
}

interface ReferenceRun {
  region: number;
  firstPage: number;
  pageCount: number;
}

export type ReferenceEvent =
  | { event: 'pages' | 'pagesEnd' | 'zeroPages'; run: ReferenceRun }
  | { event: 'payload'; region: number; offset: number; content: string }
  | { event: 'blob'; kind: number; offset: number; content: string }
  | { event: 'roundEnd'; round: number };

export interface ReferenceResult {
  /** What a sink is told; content that arrives in pieces is joined, see joinContent(). */
  events: ReferenceEvent[];
  /** 'incomplete': bytes of a frame are missing; 'refused': bad-frame. */
  outcome: 'complete' | 'incomplete' | 'refused';
}

/** Events with the pieces of a content that follow each other joined: how it was cut does not matter. */
export function joinContent(events: readonly ReferenceEvent[]): ReferenceEvent[] {
  const joined: ReferenceEvent[] = [];
  for (const event of events) {
    const last = joined.at(-1);
    if (
      last !== undefined &&
      ((event.event === 'payload' && last.event === 'payload' && last.region === event.region) ||
        (event.event === 'blob' && last.event === 'blob' && last.kind === event.kind)) &&
      last.offset + last.content.length === event.offset
    ) {
      last.content += event.content;
    } else {
      joined.push({ ...event });
    }
  }
  return joined;
}

export function referenceHeader(fields: ReferenceHeader): Buffer {
  const bytes = Buffer.alloc(24);
  bytes.writeUInt8(fields.type, 0);
  bytes.writeUInt8(fields.flags, 1);
  bytes.writeUInt16LE(fields.region, 2);
  bytes.writeUInt32LE(fields.payloadBytes, 4);
  bytes.writeBigUInt64LE(fields.position, 8);
  bytes.writeUInt32LE(fields.count, 16);
  bytes.writeUInt32LE(fields.reserved, 20);
  return bytes;
}

export function referenceDecode(stream: Buffer): ReferenceResult {
  const events: ReferenceEvent[] = [];
  const result = (outcome: ReferenceResult['outcome']) => ({ events: joinContent(events), outcome });
  let at = 0;
  while (at < stream.length) {
    if (stream.length - at < 24) return result('incomplete');
    const type = stream.readUInt8(at);
    const flags = stream.readUInt8(at + 1);
    const region = stream.readUInt16LE(at + 2);
    const payloadBytes = stream.readUInt32LE(at + 4);
    const position = stream.readBigUInt64LE(at + 8);
    const count = stream.readUInt32LE(at + 16);
    const reserved = stream.readUInt32LE(at + 20);
    at += 24;
    const lastPage = position + BigInt(count);
    const valid =
      flags === 0 &&
      reserved === 0 &&
      ((type === 1 && count >= 1 && count <= 256 && payloadBytes === count * 4096 && lastPage <= 1n << 40n) ||
        (type === 2 && count >= 1 && count <= 16384 && payloadBytes === 0 && lastPage <= 1n << 40n) ||
        (type === 3 &&
          (region === 1 || region === 2) &&
          count === 0 &&
          payloadBytes >= 1 &&
          payloadBytes <= 1048576 &&
          position + BigInt(payloadBytes) <= 64n * 1048576n) ||
        (type === 4 && region === 0 && count === 0 && payloadBytes === 0 && position < 1n << 32n));
    if (!valid) return result('refused');
    const content = stream.toString('latin1', at, at + payloadBytes);
    const offset = Number(position);
    const run = { region, firstPage: offset, pageCount: count };
    if (type === 1) events.push({ event: 'pages', run });
    if (type === 1 && content !== '')
      events.push({ event: 'payload', region, offset: offset * 4096, content });
    if (type === 1 && content.length === payloadBytes) events.push({ event: 'pagesEnd', run });
    if (type === 2) events.push({ event: 'zeroPages', run });
    if (type === 3 && content !== '') {
      events.push({ event: 'blob', kind: region, offset, content });
    }
    if (type === 4) events.push({ event: 'roundEnd', round: offset });
    if (content.length < payloadBytes) return result('incomplete');
    at += payloadBytes;
  }
  return result('complete');
}
