import { PAGE_SIZE, type Run, RunList } from '../../../../shared/page.js';
import { populatedSlices, type TrackedRegion } from './tracked-region.js';

/** One file, with its windows. */
interface TrackedFile {
  readonly windows: {
    readonly index: number;
    readonly region: TrackedRegion;
    readonly present: Uint8Array;
  }[];
  /** How many of its pages are known to be no holes. */
  presentPages: number;
}

/**
 * Finds the pages that the guest's process has given back (balloon, free page reporting): they read as zero from then on, and
 * no write-log of the kernel's tells.
 *
 * To look for holes takes some 20 ms for each GiB in use. While nothing fills holes but writes it is enough to count the
 * pages of each file, and to look where there are not as many as there must be. A guest that gives memory back as it runs
 * can fill other holes by reading them, and the count stays as it was: then holes are looked for in each harvest.
 *
 * What escapes, so that the target keeps what the page held before:
 * - a page that is given back, and filled again by being read, between two looks: it is no hole in either;
 * - pages in hugetlbfs, which doesn't tell its holes, and parts of huge pages of tmpfs that stay in use.
 */
export class VanishedPages {
  readonly #regions: readonly TrackedRegion[];
  readonly #givesBack: () => boolean;
  #files: TrackedFile[] = [];
  /** The guest was giving memory back when it was last looked, or may have been. */
  #gaveBack = false;

  /** `givesBack`: whether the guest can be giving memory back at this moment. */
  constructor(regions: readonly TrackedRegion[], givesBack: () => boolean) {
    this.#regions = regions;
    this.#givesBack = givesBack;
  }

  /** Takes note of what there is. Writes that come later must be in the next harvest. */
  async start(): Promise<void> {
    this.#files = filesOf(this.#regions);
    await this.#look(this.#files);
  }

  /** The pages that were there, or written, and have become holes; `written` is what a harvest has just returned. */
  async take(written: readonly Run[]): Promise<Run[]> {
    const files = this.#files;
    note(files, written);
    if (this.#gaveBack || this.#givesBack()) return await this.#look(files);
    const changed = files.filter(
      ({ windows, presentPages }) => windows[0]!.region.allocatedPages() !== presentPages,
    );
    return await this.#look(changed);
  }

  async #look(files: readonly TrackedFile[]): Promise<Run[]> {
    const before = this.#givesBack();
    const vanished: Run[][] = [];
    for (const file of files) vanished.push(await lookAt(file));
    this.#gaveBack = before || this.#givesBack();
    return vanished.flat();
  }
}

function filesOf(regions: readonly TrackedRegion[]): TrackedFile[] {
  const files = new Map<string, TrackedFile>();
  for (const [index, region] of regions.entries()) {
    const key = `${region.device} ${region.inode}`;
    const file = files.get(key) ?? { windows: [], presentPages: 0 };
    file.windows.push({ index, region, present: new Uint8Array(region.memory.length / PAGE_SIZE) });
    files.set(key, file);
  }
  return [...files.values()];
}

/** Takes note of pages that were written: they are no holes, or were none for a while. */
function note(files: readonly TrackedFile[], written: readonly Run[]): void {
  for (const file of files) {
    for (const { index, present } of file.windows) {
      for (const { region, firstPage, pageCount } of written) {
        if (region === index) file.presentPages += mark(present, firstPage, pageCount);
      }
    }
  }
}

/** Marks a run of pages. Returns how many of them were not marked before. */
function mark(present: Uint8Array, firstPage: number, pageCount: number): number {
  let marked = 0;
  for (let page = firstPage; page < firstPage + pageCount; page += 1) {
    marked += 1 - present[page]!;
    present[page] = 1;
  }
  return marked;
}

/** The pages of a file that are holes now and were none; takes note of what it has now. */
async function lookAt(file: TrackedFile): Promise<Run[]> {
  const vanished = new RunList();
  for (const { index, region, present } of file.windows) {
    const takeHoles = (from: number, to: number): void => {
      for (let page = from; page < to; page += 1) {
        if (present[page] === 0) continue;
        present[page] = 0;
        file.presentPages -= 1;
        vanished.add(index, page, 1);
      }
    };
    for await (const { firstPage, endPage, populated } of populatedSlices(region)) {
      let page = firstPage;
      for (const range of populated) {
        takeHoles(page, range.firstPage);
        file.presentPages += mark(present, range.firstPage, range.pageCount);
        page = range.firstPage + range.pageCount;
      }
      takeHoles(page, endPage);
    }
  }
  return vanished.runs;
}
