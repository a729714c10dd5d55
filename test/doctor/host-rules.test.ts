import t from 'tap';
import { gatherHostFacts, groupsAround, type HostFacts, softLimit } from '../../agent/doctor/host-facts.js';
import { checkHost } from '../../agent/doctor/host-rules.js';
import { expiryFinding } from '../../shared/tls/certificate-expiry.js';

const GIB = 2 ** 30;
const HOST: HostFacts = {
  ...{ kernel: '6.12.1', nodejs: 'v20.19.0', totalMemory: 64 * GIB, availableMemory: 40 * GIB },
  ...{ groupMemory: null, openFiles: 524_288, fileSize: null, clockKept: true },
};

void t.test('a host by what is known of it', (t) => {
  const find = (changes: Partial<HostFacts>, usedBytes = 0) =>
    checkHost({ ...HOST, ...changes }, { limitBytes: 32 * GIB, usedBytes }).filter(
      ({ level }) => level !== 'ok',
    );
  t.same(find({}), []);
  const unknown = { totalMemory: null, availableMemory: null, openFiles: null, clockKept: null };
  t.same(find(unknown), [], 'what is not known is no fault');
  t.match(find({ totalMemory: 16 * GIB }), [{ code: 'guest-memory', message: /the host has 16\.0 GiB/ }]);
  t.match(find({ groupMemory: 8 * GIB }), [{ code: 'guest-memory', remedy: /MemoryMax=/ }]);
  t.match(find({ availableMemory: 31 * GIB }), [{ code: 'guest-memory', message: /31\.0 GiB available/ }]);
  t.same(find({ availableMemory: 31 * GIB }, 2 * GIB), [], 'what VMs have already is not available any more');
  t.match(find({ openFiles: 1024 }), [{ code: 'open-files', remedy: /LimitNOFILE=/ }]);
  t.match(find({ fileSize: GIB }), [{ code: 'file-size', remedy: /LimitFSIZE=/ }]);
  t.ok(checkHost(HOST, { limitBytes: GIB, usedBytes: 0 }).some(({ code }) => code === 'clock-kept'));
  t.match(find({ clockKept: false }), [{ code: 'clock-not-kept', remedy: /chrony/ }]);
  t.end();
});

void t.test('this host', async (t) => {
  const facts = await gatherHostFacts();
  t.match(facts, { kernel: /^\d/, nodejs: process.version });
  t.ok(facts.totalMemory! > facts.availableMemory! && facts.availableMemory! > 0);
  t.type(facts.clockKept, 'boolean');
  t.ok(facts.openFiles! > 0);
});

void t.test('what /proc says', (t) => {
  const limits =
    'Max open files            20000                 30000                files     \nMax file size  unlimited unlimited bytes\n';
  t.equal(softLimit(limits, 'Max open files'), 20_000);
  t.equal(softLimit(limits, 'Max file size'), null);
  t.same(groupsAround('12:pids:/x\n0::/system.slice/vmferry.service\n'), [
    'system.slice',
    'system.slice/vmferry.service',
  ]);
  t.same(groupsAround('0::/\n'), []);
  t.end();
});

void t.test('until when a certificate may be used', (t) => {
  const now = new Date('2026-01-01T00:00:00Z');
  const after = (days: number, noticeDays?: number) =>
    expiryFinding('the certificate of node a', new Date(now.getTime() + days * 86_400_000), 'renew it', {
      now,
      ...(noticeDays !== undefined && { noticeDays }),
    });
  t.match(after(30), { level: 'ok', message: /in 30 days$/ });
  t.match(after(29.9), { level: 'warning', message: /in 29 days$/, remedy: 'renew it' });
  t.match(after(1), { level: 'warning', message: /in 1 day$/ });
  t.match(after(60, 90), { level: 'warning' });
  t.match(after(-1), { level: 'refusal', message: /expired on 2025-12-31/ });
  t.end();
});
