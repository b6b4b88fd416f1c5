using System.CommandLine;
using Spectre.Console;

namespace TransferEngine.Cli;

/// <summary>The commands and their options.</summary>
internal static class CommandLine
{
    public static RootCommand Root() => new("TransferEngine: transfer learning and domain adaptation on CUDA, OpenCL and the CPU.") { Demo(), Devices() };

    private static Command Demo()
    {
        var device = new Option<string?>("--device") { Description = "cuda, opencl or cpu, with :index for another than the first; the best that is there if not given." };
        var seeds = new Option<int>("--seeds") { Description = "Over how many seeds each method is repeated.", DefaultValueFactory = _ => 3 };
        var json = new Option<FileInfo?>("--json") { Description = "Also writes the results to this file." };
        seeds.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<int>() is < 1 or > 100)
                result.AddError("--seeds is a number from 1 to 100.");
        });
        var command = new Command("demo", "Adapts a digit classifier from drawn digits to real handwriting, without its labels, and compares the methods.") { device, seeds, json };
        command.SetAction((options, cancellation) => Task.FromResult(Run(() =>
        {
            using var opened = options.GetValue(device) is { } name ? Device.Open(name) : Device.OpenBest();
            new DigitsDemo(opened, options.GetValue(seeds)).Run(options.GetValue(json), cancellation);
        })));
        return command;
    }

    private static Command Devices()
    {
        var command = new Command("devices", "Lists the devices of this machine, the best first.");
        command.SetAction(_ => Run(() =>
        {
            foreach (var info in Device.List())
                Console.WriteLine($"{info}, {info.MemoryBytes / (double)(1 << 30):F1} GiB, {info.Units} units");
        }));
        return command;
    }

    /// <summary>Runs, and turns what a user can mend into a line of text and exit code 1.</summary>
    private static int Run(Action action)
    {
        try
        {
            action();
            return 0;
        }
        catch (Exception e) when (e is ArgumentException or DeviceUnavailableException or DeviceMemoryException or IOException or UnauthorizedAccessException)
        {
            AnsiConsole.MarkupLineInterpolated($"[red]{e.Message}[/]");
            return 1;
        }
        catch (OperationCanceledException)
        {
            AnsiConsole.MarkupLine("[yellow]Cancelled.[/]");
            return 130;
        }
    }
}
