import { createHash } from 'node:crypto';
import t from 'tap';
import type { BenchReport } from '../../../scripts/bench/bench-report.js';
import { renderReport } from '../../../scripts/bench/report/render-report.js';
import {
  benchSamples,
  cappedLinkSample,
  compareSample,
  concurrentSample,
  linkSample,
  scaleSample,
} from '../../support/bench-samples.js';

/** Contents of all elements of that name, without those of nested ones. */
function contents(page: string, element: string): string[] {
  return [...page.matchAll(new RegExp(`<${element}\\b[^>]*>([^]*?)</${element}>`, 'g'))].map(
    ([, text]) => text ?? '',
  );
}

/** The page without the contents of scripts and style. */
function markup(page: string): string {
  return page.replace(/(<(script|style)\b[^>]*>)[^]*?(<\/\2>)/g, '$1$3');
}

for (const report of benchSamples()) {
  await t.test(`bench ${report.bench}: a file that needs no other`, (t) => {
    const page = renderReport(report);
    const tags = markup(page);
    t.notMatch(tags, /\s(?:src|action|poster|srcset)=/i);
    t.same(
      [...tags.matchAll(/\shref="([^"]*)"/g)].map(([, link]) => link),
      ['data:,'],
      'an icon of nothing',
    );
    t.notMatch(contents(page, 'style').join(), /@import|url\(/);
    t.notMatch(page, /sourceMappingURL/);
    t.equal(contents(page, 'script').length, 3, 'nothing in them ends their elements');

    const policy = /Content-Security-Policy" content="([^"]*)"/.exec(page)?.[1] ?? '';
    t.match(policy, "default-src 'none'");
    for (const text of [...contents(page, 'style'), ...contents(page, 'script').slice(1)]) {
      t.ok(policy.includes(`'sha256-${createHash('sha256').update(text).digest('base64')}'`));
    }
    t.end();
  });

  await t.test(`bench ${report.bench}: where it ran, how to repeat it, what it found`, (t) => {
    const tags = markup(renderReport(report));
    const { host, command, options } = report;
    for (const text of [
      host.processor,
      host.kernel,
      command,
      ...Object.keys(options),
      'http://10.77.0.2:7800',
    ]) {
      t.ok(tags.includes(text), text);
    }
    t.match(tags, '<time datetime="2031-03-14T09:26:53.589Z">2031-03-14 09:26:53 UTC</time>');
    t.match(tags, `<h1>vmferry bench ${report.bench}</h1>`);
    const plots = [...tags.matchAll(/data-plot="(\d+)"/g)].map(([, plot]) => plot);
    const data = JSON.parse(contents(renderReport(report), 'script')[0] ?? '') as { plots: unknown[] };
    t.same(plots, Object.keys(data.plots), 'a canvas for each plot');
    t.equal(
      [...tags.matchAll(/<canvas/g)].length,
      [...tags.matchAll(/<canvas\s[^>]*aria-label="[^"]+"/g)].length,
    );
    t.end();
  });
}

await t.test('the cap of a link is told', (t) => {
  t.match(renderReport(cappedLinkSample()), '<td>1 Gbit/s</td>');
  t.match(renderReport(linkSample()), '<td>nothing, then 5 Gbit/s</td>');
  t.match(renderReport(concurrentSample()), '<td>1 Gbit/s</td>');
  t.match(renderReport({ ...cappedLinkSample(), series: [] }), '<td>1 Gbit/s</td>');
  t.end();
});

await t.test('a warning stands where there is something to be warned of', (t) => {
  t.equal(renderReport(compareSample()).split('<p class="warning">').length, 2);
  t.notMatch(renderReport(scaleSample()), '<p class="warning">');
  t.end();
});

await t.test('names can be anything', (t) => {
  const evil = `</script><img src=x onerror="alert('x')"><!--`;
  const report = compareSample();
  const hostile: BenchReport = {
    ...report,
    startedAt: evil,
    command: evil,
    host: { ...report.host, processor: evil, kernel: evil, versions: { [evil]: evil } },
    link: { ...report.link, agents: [evil] },
    options: { [evil]: evil },
    series: report.series.map((each) => ({ ...each, guest: evil, workload: evil })),
  };
  const page = renderReport(hostile);
  t.notMatch(page, '<img');
  t.equal(page.split('</script>').length - 1, 3);
  const data = JSON.parse(contents(page, 'script')[0] ?? '') as { picks: { name: string }[] };
  t.ok(data.picks[0]?.name.includes(evil), 'it reaches the page as it is');
  t.end();
});
