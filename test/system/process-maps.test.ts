import { statSync } from 'node:fs';
import { test } from 'tap';
import { parseMaps, readMaps } from '../../agent/system/process-maps.js';

void test('reads every kind of line', (t) => {
  const text = `55d0c0000000-55d0c0021000 r-xp 00002000 fe:01 1048577                    /usr/bin/a name
7f0000000000-7f0080000000 rw-s 80000000 00:1b 77                         /dev/shm/x.ram (deleted)
7ffff7ff0000-7ffff7ff1000 ---p 00000000 00:00 0
7ffff7fc0000-7ffff7fc2000 r-xp 00000000 00:00 0                          [vdso]
`;
  t.same(parseMaps(text), [
    {
      start: 0x55d0c0000000,
      end: 0x55d0c0021000,
      writable: false,
      executable: true,
      shared: false,
      offset: 0x2000,
      device: 0xfe01,
      inode: 1048577,
      name: '/usr/bin/a name',
    },
    {
      start: 0x7f0000000000,
      end: 0x7f0080000000,
      writable: true,
      executable: false,
      shared: true,
      offset: 0x80000000,
      device: 0x1b,
      inode: 77,
      name: '/dev/shm/x.ram (deleted)',
    },
    {
      start: 0x7ffff7ff0000,
      end: 0x7ffff7ff1000,
      writable: false,
      executable: false,
      shared: false,
      offset: 0,
      device: 0,
      inode: 0,
      name: '',
    },
    {
      start: 0x7ffff7fc0000,
      end: 0x7ffff7fc2000,
      writable: false,
      executable: true,
      shared: false,
      offset: 0,
      device: 0,
      inode: 0,
      name: '[vdso]',
    },
  ]);
  t.end();
});

void test('device numbers are those of stat, with large minors, too', (t) => {
  t.equal(
    parseMaps('1000-2000 rw-s 00000000 103:12345 1 x')[0]!.device,
    0x1200010345 - 0x1200000000 + 0x12300000,
  );
  const [own] = readMaps(process.pid).filter(({ name }) => name === process.execPath);
  const { dev, ino } = statSync(process.execPath);
  t.match(own, { device: dev, inode: ino });
  t.end();
});
