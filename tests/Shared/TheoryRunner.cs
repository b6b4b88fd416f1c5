using System.Collections.Concurrent;
using System.Diagnostics;
using System.Reflection;
using Xunit.Sdk;

namespace TransferEngine.Tests;

/// <summary>What became of one row of a theory: <paramref name="Outcome"/> is passed, failed or skipped, <paramref name="Message"/> why.</summary>
internal sealed record TheoryResult(string Name, string Outcome, double Milliseconds, string Message);

/// <summary>
/// Runs an assembly's theories in this process, without a test host: for programs that carry the tests to where no SDK is, and for processes that
/// were started with other settings of the runtime.
/// </summary>
internal static class TheoryRunner
{
    /// <summary>Runs every row whose first argument is the machine, and hands each result over as it comes.</summary>
    /// <param name="assembly">The assembly.</param>
    /// <param name="machine">One of <see cref="TestDevices.Names"/>.</param>
    /// <param name="filter">Part of the name of what is run; empty for all.</param>
    /// <param name="workers">How many rows run at once.</param>
    /// <param name="report">Gets the results, from several threads if there are several workers.</param>
    public static void Run(Assembly assembly, string machine, string filter, int workers, Action<TheoryResult> report)
    {
        var cases = from method in assembly.GetTypes().SelectMany(type => type.GetMethods())
                    from data in method.GetCustomAttributes<DataAttribute>()
                    from row in data.GetData(method)
                    where row is [string first, ..] && first == machine
                    let name = $"{method.DeclaringType!.Name}.{method.Name}({string.Join(", ", row)})"
                    where name.Contains(filter, StringComparison.OrdinalIgnoreCase)
                    select (Method: method, Row: row, Name: name);
        Parallel.ForEach(Partitioner.Create(cases, EnumerablePartitionerOptions.NoBuffering), new ParallelOptions { MaxDegreeOfParallelism = workers }, test =>
        {
            long start = Stopwatch.GetTimestamp();
            var (outcome, message) = Outcome(test.Method, test.Row);
            report(new(test.Name, outcome, Stopwatch.GetElapsedTime(start).TotalMilliseconds, message));
        });
    }

    private static (string, string) Outcome(MethodInfo method, object[] row)
    {
        try
        {
            (method.Invoke(Activator.CreateInstance(method.DeclaringType!), row) as Task)?.GetAwaiter().GetResult();
            return ("passed", "");
        }
        catch (Exception e)
        {
            var cause = e is TargetInvocationException { InnerException: { } inner } ? inner : e;
            return (cause is Xunit.SkipException ? "skipped" : "failed", cause.Message);
        }
    }
}
