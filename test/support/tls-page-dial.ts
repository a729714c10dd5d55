import { createHash } from 'node:crypto';
import { streamDecoder } from '../../agent/link/page-receiver.js';
import { dialTcpPages } from '../../agent/link/tcp-pages.js';
import { PAGE_SIZE } from '../../shared/page.js';
import { toMigrationError } from '../../shared/errors.js';
import { RecordingSink } from './link-sink.js';

/**
 * A process of its own, since the certificates that are trusted are given when it starts: dials a page stream, and prints what
 * came of it. Arguments: URL, migration, token, pages of the region.
 */

const [url = '', migrationId = '', token = '', pages = '0'] = process.argv.slice(2);
const memory = new Uint8Array(new SharedArrayBuffer(Number(pages) * PAGE_SIZE));
let placed = 0;

class Placing extends RecordingSink {
  place(_stream: number, _region: number, offset: number, bytes: number): Uint8Array {
    placed += 1;
    return memory.subarray(offset, offset + bytes);
  }
}

const intake = streamDecoder(0, new Placing([memory]));
try {
  await new Promise((resolve, reject) => {
    const onEnd = (error: Error | null) => (error === null ? resolve(null) : reject(error));
    const where = { url, peer: 'node node-a', migrationId, stream: 0, token, intake };
    dialTcpPages({ ...where, onEnd }).catch(reject);
  });
  console.log(JSON.stringify({ placed, digest: createHash('sha256').update(memory).digest('hex') }));
} catch (error) {
  console.log(JSON.stringify({ error: toMigrationError(error) }));
}
