using System.CommandLine;

namespace TransferEngine.Benchmarks;

/// <summary>freezing and few-labels: what transfer saves and what it gives, as pages with charts.</summary>
internal static class TransferCommand
{
    /// <summary>Runs the command line.</summary>
    public static Task<int> Run(string[] arguments) => new RootCommand("Measures transfer.") { Freezing(), Few() }.Parse(arguments).InvokeAsync();

    private static Command Freezing()
    {
        var output = Page("docs/freezing.md");
        var batch = Number("--batch-size", "Images of a step.", 8);
        var rounds = Number("--rounds", "Steps of each depth.", 5);
        var photos = new Option<DirectoryInfo?>("--photos") { Description = "A folder of images a class: also measures an epoch of a head over them, with and without a cache of features." };
        var device = DeviceOption();
        var command = new Command("freezing", "Step time and peak memory against the depth of freezing.") { output, batch, rounds, photos, device };
        command.SetAction((options, cancellation) => Task.FromResult(ReproduceCommand.Guarded(() =>
        {
            using var opened = Device.Open(options.GetRequiredValue(device));
            new FreezingDepth(opened, options.GetValue(batch), options.GetValue(rounds)).Run(options.GetRequiredValue(output).FullName, options.GetValue(photos)?.FullName, cancellation);
        })));
        return command;
    }

    private static Command Few()
    {
        var data = new Option<DirectoryInfo>("--data") { Description = "The folder that holds office-caltech10-images, squeezenet1_0 and resnet-cifar10.", Required = true };
        var output = Page("docs/transfer-pays.md");
        var domain = new Option<string>("--domain") { Description = "amazon, caltech10, webcam or dslr.", DefaultValueFactory = _ => "amazon" };
        var shots = new Option<int[]>("--shots") { Description = "How many labelled images a class.", AllowMultipleArgumentsPerToken = true, DefaultValueFactory = _ => [5, 10, 20] };
        var networks = new Option<string[]>("--networks") { Description = "Of resnet20 and squeezenet1_0.", AllowMultipleArgumentsPerToken = true, DefaultValueFactory = _ => ["resnet20", "squeezenet1_0"] };
        var seeds = Number("--seeds", "Over how many seeds the labelled images and all else are drawn.", 3);
        var fineTuneRate = new Option<double?>("--fine-tune-rate") { Description = "The learning rate of fine-tuning; the network's own if not given." };
        var scratchRate = new Option<double?>("--scratch-rate") { Description = "The learning rate from scratch; the network's own if not given." };
        var kept = new Option<FileInfo?>("--rows") { Description = "Keeps each result in this file, a JSON line each, and runs nothing again that it has." };
        var device = DeviceOption();
        var command = new Command("few-labels", "Pretrained features against training from scratch, on few labels.") { data, output, domain, shots, networks, seeds, fineTuneRate, scratchRate, kept, device };
        command.SetAction((options, cancellation) => Task.FromResult(ReproduceCommand.Guarded(() =>
        {
            using var opened = Device.Open(options.GetRequiredValue(device));
            new FewLabels(options.GetRequiredValue(data).FullName, options.GetRequiredValue(domain), options.GetRequiredValue(shots), options.GetValue(seeds), options.GetValue(fineTuneRate), options.GetValue(scratchRate), options.GetValue(kept), opened)
                .Run(options.GetRequiredValue(networks), options.GetRequiredValue(output).FullName, cancellation);
        })));
        return command;
    }

    private static Option<FileInfo> Page(string path) => new("--out") { Description = "The page; its chart goes beside it.", DefaultValueFactory = _ => new FileInfo(path) };

    private static Option<string> DeviceOption() => new("--device") { Description = "cuda, opencl or cpu, with :index for another than the first.", DefaultValueFactory = _ => "cpu" };

    private static Option<int> Number(string name, string description, int usual)
    {
        var number = new Option<int>(name) { Description = description, DefaultValueFactory = _ => usual };
        number.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<int>() is < 1 or > 100_000)
                result.AddError($"{name} is a number from 1 to 100000.");
        });
        return number;
    }
}
