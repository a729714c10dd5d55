import t from 'tap';
import { html } from '../../../scripts/bench/report/html.js';

await t.test('what is inserted is text', (t) => {
  const name = `</td><script>alert("it's")</script> & more`;
  t.equal(
    html`<td title="${name}">${name}</td>`.text,
    '<td title="&lt;/td&gt;&lt;script&gt;alert(&quot;it&#39;s&quot;)&lt;/script&gt; &amp; more">' +
      '&lt;/td&gt;&lt;script&gt;alert(&quot;it&#39;s&quot;)&lt;/script&gt; &amp; more</td>',
  );
  t.equal(html`${3}`.text, '3');
  t.end();
});

await t.test('what is HTML is inserted as it is, lists of it as well', (t) => {
  const words = ['a<b', 'c'].map((text) => html`<b>${text}</b>`);
  t.equal(html`<i>${words}</i>`.text, '<i><b>a&lt;b</b>\n<b>c</b></i>');
  t.end();
});
