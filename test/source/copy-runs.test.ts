import t from 'tap';
import type { Region, WriteLog } from '../../agent/guest/guest.js';
import type { PageSender } from '../../agent/link/link.js';
import { copyRuns } from '../../agent/source/copy-runs.js';
import { PAGE_SIZE, type Run } from '../../shared/page.js';

const NO_LOG: WriteLog = {
  kind: 'none',
  reason: 'a test',
  start: () => Promise.resolve(),
  harvest: () => Promise.resolve([]),
  stop: () => Promise.resolve(),
};

/** Notes what is sent: runs with the first byte of each page, or with nothing for zero pages. */
function notingSender() {
  const sent: string[] = [];
  const note = ({ region, firstPage, pageCount }: Run, bytes: string) =>
    void sent.push(`${region}:${firstPage}+${pageCount}${bytes}`);
  const sender: PageSender = {
    takenBytes: 0,
    wireBytes: 0,
    sendPages: (run, content) => {
      const firstBytes = Array.from({ length: run.pageCount }, (_, page) => content[page * PAGE_SIZE]);
      return Promise.resolve(note(run, ` ${firstBytes.join(',')}`));
    },
    sendZeroPages: (run) => Promise.resolve(note(run, '')),
    sendBlob: () => Promise.resolve(),
    sendRoundEnd: () => Promise.resolve(),
    use: () => undefined,
    onClose: () => undefined,
    close: () => undefined,
  };
  return { sender, sent };
}

/** Eight pages of which 0, 1, 4 and 5 are there, page 5 being all zero; a look at a hole fails. */
function withHoles(): Region {
  const memory = new Uint8Array(8 * PAGE_SIZE);
  for (const page of [0, 1, 4]) memory.fill(page + 1, page * PAGE_SIZE, (page + 1) * PAGE_SIZE);
  const data = new Set([0, 1, 4, 5]);
  return {
    name: 'ram0',
    memory,
    populated: (firstPage, pageCount) =>
      Array.from({ length: pageCount }, (_, i) => firstPage + i)
        .filter((page) => data.has(page))
        .map((page) => ({ firstPage: page, pageCount: 1 })),
  };
}

const signal = new AbortController().signal;

void t.test('holes are told as zero pages, and not looked at', async (t) => {
  const { sender, sent } = notingSender();
  const region = withHoles();
  // what a look would find
  for (const page of [2, 3, 6, 7]) region.memory.fill(9, page * PAGE_SIZE, (page + 1) * PAGE_SIZE);
  const runs = [{ region: 0, firstPage: 1, pageCount: 7 }];
  const figures = await copyRuns(
    runs,
    { regions: [region], writeLog: NO_LOG },
    true,
    sender,
    signal,
    () => true,
  );
  t.strictSame(sent, ['0:1+1 2', '0:2+2', '0:4+1 5', '0:5+1', '0:6+2']);
  t.match(figures, { pages: 7, zeroPages: 5, bytes: 2 * PAGE_SIZE, left: [] });
});

void t.test('what is sent is what was captured, whatever the guest does meanwhile', async (t) => {
  const { sender, sent } = notingSender();
  const memory = new Uint8Array(2 * PAGE_SIZE).fill(1);
  // It was a hole a moment ago: that is no reason to send zeros where something else was captured.
  const region: Region = { name: 'ram0', memory, populated: () => [] };
  const writeLog: WriteLog = {
    ...NO_LOG,
    capture: () => {
      const copy = region.memory.slice();
      region.memory.fill(2);
      return copy;
    },
  };
  const runs = [{ region: 0, firstPage: 0, pageCount: 2 }];
  await copyRuns(runs, { regions: [region], writeLog }, true, sender, signal, () => true);
  t.strictSame(sent, ['0:0+2 1,1']);
});

void t.test('told to stop, it says what is left', async (t) => {
  const { sender, sent } = notingSender();
  const runs = [
    { region: 0, firstPage: 0, pageCount: 8 },
    { region: 1, firstPage: 3, pageCount: 2 },
  ];
  const guest = { regions: [withHoles(), withHoles()], writeLog: NO_LOG };
  const figures = await copyRuns(runs, guest, true, sender, signal, (pages) => pages < 4);
  t.strictSame(sent, ['0:0+1 1', '0:1+1 2', '0:2+2']);
  t.strictSame(figures.left, [{ region: 0, firstPage: 4, pageCount: 4 }, runs[1]]);
});
