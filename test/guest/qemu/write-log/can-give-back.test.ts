import { test } from 'tap';
import { canGiveBack } from '../../../../agent/guest/qemu/write-log/can-give-back.js';
import { QemuDefinitionSchema } from '../../../../shared/guest-definition.js';

void test('the devices that give memory back are known, however they are written', (t) => {
  const cases: [string, boolean][] = [
    ['virtio-balloon', true],
    ['virtio-balloon-pci,id=balloon0,free-page-reporting=on', true],
    ['{"driver":"virtio-balloon-pci-non-transitional","id":"balloon0"}', true],
    ['virtio-mem-pci,memdev=mem1,requested-size=1G', true],
    ['virtio-rng-pci', false],
  ];
  for (const [device, expected] of cases) {
    const definition = QemuDefinitionSchema.parse({
      name: 'vm',
      kind: 'qemu',
      memory: '64MiB',
      arguments: ['-device', device],
    });
    t.equal(canGiveBack(definition), expected, device);
  }
  t.end();
});
