import { chromium, type Page } from 'playwright-core';
import root from 'tap';

/** Pages in a real browser: Debian's, which scripts/prepare --qemu installs. */
const CHROMIUM = '/usr/bin/chromium';

export const browser = await chromium.launch({ executablePath: CHROMIUM });
root.teardown(() => browser.close());

/** Resolves in the frame in which the expression holds. (waitForFunction evaluates text, which the page's policy forbids.) */
export async function until(page: Page, expression: string): Promise<void> {
  while (!(await page.evaluate(expression))) await page.evaluate('new Promise(requestAnimationFrame)');
}
