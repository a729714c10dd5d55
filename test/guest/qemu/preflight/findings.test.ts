import { test } from 'tap';
import {
  note,
  refusal,
  toPreflightFindings,
  warning,
} from '../../../../agent/guest/qemu/preflight/findings.js';
import { MAX_CONTROL_MESSAGE_BYTES } from '../../../../shared/protocol/messages.js';

void test('the worst comes first', (t) => {
  const findings = [
    note('balloon', 'device a', 'is well'),
    warning('hugepages', 'memory', 'is slow', 'do this'),
    refusal('vfio', 'device b', 'stays', 'unplug it'),
  ];
  t.same(toPreflightFindings(findings), [
    { level: 'refusal', code: 'vfio', message: 'device b: stays', remedy: 'unplug it' },
    { level: 'warning', code: 'hugepages', message: 'memory: is slow', remedy: 'do this' },
    { level: 'ok', code: 'balloon', message: 'device a: is well' },
  ]);
  t.end();
});

void test('a report fits into a control message', (t) => {
  const long = 'x'.repeat(5000);
  const report = toPreflightFindings([
    ...Array.from({ length: 100 }, () => warning('disk-not-shared', 'disk', long, long)),
    refusal('vfio', 'device', long, long),
  ]);
  t.match(report[0], { level: 'refusal' });
  t.ok(report.length < 64);
  t.ok(JSON.stringify(report).length < MAX_CONTROL_MESSAGE_BYTES);
  t.end();
});
