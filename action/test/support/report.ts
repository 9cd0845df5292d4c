/** The report as the runner starts it. */
import '../../src/report.ts';
