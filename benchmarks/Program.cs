using BenchmarkDotNet.Running;
using TransferEngine.Benchmarks;

// reproduce EXPERIMENT --data DIR [--methods A,B] [--seeds N] [--json FILE] [--markdown FILE]: runs a published experiment again.
// freezing [--out FILE], few-labels --data DIR [--out FILE]: what transfer saves and what it gives, as pages with charts.
// suites [BenchmarkDotNet's arguments]: the suites of this project. All else is Measurements'.
if (args is ["reproduce", .. var experiment])
    return await ReproduceCommand.Run(experiment);
if (args is ["freezing" or "few-labels", ..])
    return await TransferCommand.Run(args);
if (args is ["suites", .. var rest])
{
    BenchmarkSwitcher.FromAssembly(typeof(Workloads).Assembly).Run([.. rest]);
    return 0;
}
return Measurements.Run(args);
