using BenchmarkDotNet.Running;
using TransferEngine.Benchmarks;

// reproduce EXPERIMENT --data DIR [--methods A,B] [--seeds N] [--json FILE] [--markdown FILE]: runs a published experiment again.
// suites [BenchmarkDotNet's arguments]: the suites of this project. All else is Measurements'.
if (args is ["reproduce", .. var experiment])
    return await ReproduceCommand.Run(experiment);
if (args is ["suites", .. var rest])
{
    BenchmarkSwitcher.FromAssembly(typeof(Workloads).Assembly).Run([.. rest]);
    return 0;
}
return Measurements.Run(args);
