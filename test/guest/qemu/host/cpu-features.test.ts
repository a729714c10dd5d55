import t from 'tap';
import { parseCpuInfo, readHostCpu } from '../../../../agent/guest/qemu/host/cpu-features.js';

const PROCESSOR = `processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 17
model name\t: AMD EPYC 9354 32-Core Processor
stepping\t: 1
flags\t\t: sse2 aes  avx
power management:

processor\t: 1
vendor_id\t: another
`;

void t.test('the first processor, as Linux describes it', (t) => {
  t.same(parseCpuInfo(PROCESSOR), {
    vendor: 'AuthenticAMD',
    signature: '25-17-1',
    name: 'AMD EPYC 9354 32-Core Processor',
    flags: ['aes', 'avx', 'sse2'],
  });
  t.same(parseCpuInfo(''), { vendor: '', signature: '--', name: '', flags: [] });
  t.end();
});

void t.test("this host's", async (t) => {
  const cpu = await readHostCpu();
  t.ok(cpu.vendor.length > 0);
  t.ok(cpu.flags.includes('sse2'));
});
