export { delay, systemTimers, type Timers } from '../../shared/timers.js';
