import { test } from 'tap';
import { Pacer } from '../../../agent/guest/embedded/pacer.js';

void test('a guest that waits 5 ms waits 5 ms less what it took to get there', (t) => {
  let now = 1000;
  const pacer = new Pacer(() => now);
  t.equal(pacer.waitMs(70, 75), 5);
  now = 1005;
  t.equal(pacer.waitMs(75, 80), 5);
  // It came 2 ms late to its next wait: that one is shorter, and the one after it on time again.
  now = 1012;
  t.equal(pacer.waitMs(80, 85), 3);
  now = 1015;
  t.equal(pacer.waitMs(85, 90), 5);
  t.end();
});

void test('a guest that is late catches up 20 ms at most', (t) => {
  let now = 0;
  const pacer = new Pacer(() => now);
  t.equal(pacer.waitMs(0, 10), 10);
  now = 5000;
  t.equal(pacer.waitMs(10, 20), 0);
  t.equal(pacer.waitMs(20, 40), 10);
  t.end();
});

void test('it starts over after a pause', (t) => {
  let now = 0;
  const pacer = new Pacer(() => now);
  pacer.waitMs(0, 10);
  now = 90_000;
  pacer.restart();
  t.equal(pacer.waitMs(10, 20), 10);
  t.end();
});
