import type { BenchReport } from '../bench-report.js';
import { concurrentSections } from './concurrent-sections.js';
import { linkSections } from './link-sections.js';
import { moveSections } from './move-sections.js';
import { scaleSections } from './scale-sections.js';
import type { Section } from './section.js';

/** What a report tells: its tables are for a terminal as well (`formatTable`). */
export function reportSections(report: BenchReport): Section[] {
  switch (report.bench) {
    case 'link':
      return linkSections(report);
    case 'migrate':
    case 'compare':
      return moveSections(report.series);
    case 'scale':
      return scaleSections(report);
    case 'concurrent':
      return concurrentSections(report);
  }
}
