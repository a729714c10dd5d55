import t from 'tap';
import { growth, type SoakSample } from './soak.js';

const samples = (value: (index: number) => number): SoakSample[] =>
  Array.from({ length: 20 }, (_, index) => ({
    migrations: index,
    figures: { 'agent a: resident MiB': value(index) * 100, 'agent a: descriptors': value(index) * 40 },
  }));

await t.test('what grows is told from what does not', (t) => {
  t.same(growth(samples(() => 1)), []);
  t.same(growth(samples((index) => (index < 4 ? index / 4 : 1))), [], 'caches fill');
  t.same(growth(samples((index) => (index === 18 ? 5 : 1))), [], 'one odd sample is none');
  t.same(growth(samples((index) => 1 + (index % 3))), [], 'what is collected now and then');
  t.match(growth(samples((index) => 1 + (index % 3) + index / 10)), [
    /resident MiB grew/,
    /descriptors grew/,
  ]);
  t.match(growth(samples((index) => 1 + index / 20)), [/resident MiB grew/, /descriptors grew/]);
  t.end();
});
