import { MigrationError } from '../../shared/errors.js';
import { PAGE_SIZE } from '../../shared/page.js';
import { MAX_HASHES } from '../../shared/protocol/messages.js';
import type { Region } from '../guest/guest.js';
import { hashPages } from '../guest/page-hash.js';
import type { Conversation } from './conversation.js';

export interface Comparison {
  pagesChecked: number;
  mismatches: number;
  /** The first page that differs, for the error message. */
  first: { region: string; page: number } | null;
  /** Why the comparison of a guest that has moved ended early. */
  failure: MigrationError | null;
}

/**
 * Compares every page of a paused guest with the target's hashes of its copy; `into` is updated as it goes, so that
 * an interrupted comparison still tells how far it came.
 */
export async function compareMemory(
  regions: readonly Region[],
  conversation: Conversation,
  timeoutMs: number,
  into: Comparison,
): Promise<void> {
  for (const [index, region] of regions.entries()) {
    const pages = region.memory.length / PAGE_SIZE;
    for (let firstPage = 0; firstPage < pages; firstPage += MAX_HASHES) {
      const pageCount = Math.min(MAX_HASHES, pages - firstPage);
      const request = { type: 'verify-request', region: index, firstPage, pageCount } as const;
      const { hashes, ...about } = await conversation.ask(request, 'verify-hashes', timeoutMs);
      if (about.region !== index || about.firstPage !== firstPage || hashes.length !== pageCount * 8) {
        throw new MigrationError(
          'bad-message',
          `the target sent hashes of other pages than it was asked for`,
        );
      }
      const own = hashPages(region, firstPage, pageCount);
      const view = new DataView(hashes.buffer, hashes.byteOffset, hashes.byteLength);
      for (let i = 0; i < pageCount; i += 1) {
        if (own[i] === view.getBigUint64(i * 8, true)) continue;
        into.mismatches += 1;
        into.first ??= { region: region.name, page: firstPage + i };
      }
      into.pagesChecked += pageCount;
    }
  }
}
