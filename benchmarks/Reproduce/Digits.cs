using TransferEngine.Adaptation;
using TransferEngine.Data;
using TransferEngine.Data.Transforms;
using TransferEngine.Modules;

namespace TransferEngine.Benchmarks;

/// <summary>MNIST and USPS, whole, in both directions, with the small convolutional network of the papers.</summary>
internal sealed class Digits : DeepExperiment
{
    private const int Side = DigitsNetwork.Side, Box = 20, Margin = (Side - Box) / 2, UspsTraining = 7438, BatchRows = 64, Steps = 9370;
    private const ulong SplitSeed = 0;

    private readonly Dictionary<string, (IDataset Training, IDataset Test)> sets = [];
    private (IDataset Training, IDataset Test) stretched;
    private Device device = Device.Cpu;

    public Digits() => DeepMethods =
    [
        new(new("source-only", "the source alone, 30 passes: 28,110 steps on MNIST, 3,480 on USPS. USPS is augmented. Published: SHOT's source model.", [89.6, 87.8]), null, [1], Augments: true),
        new(new("source-only plain", "the same on USPS as it is, which is what all below but SHOT are to be held against; on MNIST nothing is augmented above either."), null, [1], Serves: task => task.Augmentation is not null),
        new(new("DAN", "MK-MMD, biased, five kernels, on the bottleneck's features, weight 1."), (_, make) => new DiscrepancyMethod("DAN", new MaximumMeanDiscrepancy(), make.Weight, WeightSchedule.Ganin), [1]),
        new(new("Deep CORAL", "the paper's CORAL on the bottleneck's features, weight 10."), (_, make) => new DiscrepancyMethod("Deep CORAL", new DeepCoral(), make.Weight, WeightSchedule.Ganin), [10]),
        new(new("DANN", "two hidden layers of 500, weight 1."), (task, make) => new DomainAdversary(Recipes.Discriminator(task.Width, task.DiscriminatorWidth, make), make.Weight), [1]),
        new(new("CDAN+E", "two hidden layers of 500 on the outer product of features and predictions, weight 1, 3 or 10.", [95.6, 98.0]),
            (task, make) => new ConditionalDomainAdversary(Recipes.Discriminator(task.Width * task.Classes, task.DiscriminatorWidth, make), entropy: true, make.Weight), [1, 3, 10]),
        new(new("CDAN+E" + DeepMethod.Own, "the same with all that its authors' code has of its own: USPS's own division, 7,291 digits to train on and 2,007 to test, stretched over 28x28; 500 rectified features with dropout 0.5 and a linear head; learning rate 0.01, halved after half of the passes (to USPS after four and nine of ten) but for the discriminator, weight decay 5e-4, no Nesterov, no label smoothing; the mean of both domains for their sum, weights of mean 1, no adversary in the first pass.", [95.6, 98.0]),
            (task, make) => ConditionalDomainAdversary.Authors(
                new(Recipes.Discriminator(task.Width * task.Classes, task.DiscriminatorWidth, make), Optimizer: parameters => new Sgd([new ParameterGroup(parameters) { IsScheduled = false }], LearningRate, Momentum, weightDecay: task.WeightDecay)),
                entropy: true, make.Weight, AfterOnePass), [1], Of: AsCdan),
        new(new("MCD", "four updates of the features a step, weight 1, two fifths of the steps.", [93.8, 95.7]),
            (task, make) => new MaximumClassifierDiscrepancy(Initialized(make.Generator, DigitsNetwork.Head(make.Generator, make.Device)), 4, make.Weight), [1], 0.4),
        new(new("SHOT", "from the source-only model; pseudo-labels weigh 0.1; 30 passes through the target.", [98.0, 98.4]), null, [1], Augments: true),
    ];

    public override string Name => "digits";

    public override string Title => "Digits: MNIST and USPS";

    public override string Protocol => $$"""
        All 60,000 training digits of MNIST and 7,438 of USPS's 9,298, with labels of the source alone; accuracy is measured on the target's rows that were not trained on, MNIST's 10,000 test
        digits and the other 1,860 of USPS. These are the sizes of SHOT's files (from CoGAN); their choice of USPS rows is not known, so ours is drawn once, by seed 0, for all runs. MNIST's
        digits were fitted into 20x20 pixels within 28x28; USPS's fill their 16x16, which are therefore resized to 20x20, bilinearly, with a margin of 4. (Stretched over all of 28x28 they are a
        harder target: source-only from MNIST got 75.2 % and 72.9 %, SHOT 93.9 % and 93.1 % over two seeds, where the authors' source-only has 89.6 % on their files.) Pixels go from -1 to 1. As
        in SHOT's code, USPS is augmented where it alone is trained on, for source-only and SHOT: a window of 28x28 out of 36x36 with the digit in the middle, turned by up to 10 degrees. All
        else is taken as it is, as in CDAN's code.

        The network is SHOT's: convolutions of 5x5 to 20 and 50 channels, each max-pooled and rectified, dropout of channels 0.5 between, a bottleneck of 256 with batch normalisation and
        dropout 0.5, and a weight-normalised head. Batches of 64 a domain. {{Training}}
        No number was chosen by target labels: the weights are the papers' or 1, the lengths of training those of SHOT's code (30 passes) and CDAN's (9,370 steps), but for MCD's. CDAN+E's weight
        is chosen for each task and seed by information maximisation, which sees no label, among 1, 3 and 10. (The other pages' 0.1, 0.3 and 1 were tried with one seed from USPS; the measure
        rose with the weight, 1.66, 1.87, 2.09, and so the choice was moved up. The accuracies at weight 1 had been seen by then.)
        """;

    public override string Notes => """
        Times are of training and of scoring by all validators, on one thread of a busy machine, some 17,000 seconds for the whole table; CDAN+E's are of three trainings. Before it followed the
        authors' lengths and SHOT's head, this page had 2,000 steps for all, 2,800 on MNIST alone, and USPS augmented for all methods: CDAN+E then came to 95.2 and 93.2 %, SHOT to 97.1 and 97.5 %.
        With no gradient through its weights, as in tllib, CDAN+E came to 97.4 and 97.0 % at weight 1; with it, as in the paper, to 98.1 and 97.6 % at the same weight. Of 1, 3 and 10 information
        maximisation chose 10 each time; larger ones were not tried, and the other methods' weights were not searched.
        CDAN+E own stays a point below what was published in both directions. Its authors' code prints the accuracy after each pass and does not say which is the published one; it stores
        the digits as JPEG, and lets the entropy's part begin a pass ahead of the discriminator's, which these runs do not. That its images of USPS are the 16x16 ones is taken from their count,
        order and labels; the images themselves were not to be had.
        """;

    public override IReadOnlyList<string> Tasks { get; } = ["MNIST→USPS", "USPS→MNIST"];

    protected override IReadOnlyList<DeepMethod> DeepMethods { get; }

    protected override void Prepare(ExperimentRun run, CancellationToken cancellation)
    {
        device = run.Device;
        const string Pattern = "{0}-images-idx3-ubyte.gz";
        TensorDataset Load(string set, string part)
        {
            string file = string.Format(System.Globalization.CultureInfo.InvariantCulture, Pattern, part), folder = run.Folder(set, file);
            return TensorDataset.FromIdx(Path.Combine(folder, file), Path.Combine(folder, file.Replace("images-idx3", "labels-idx1", StringComparison.Ordinal)), run.Device);
        }
        sets["MNIST"] = (Load("mnist", "train"), Load("mnist", "t10k"));
        TensorDataset first = Load("usps", "train"), second = Load("usps", "test");
        var all = new TensorDataset(Tensor.Concat([first.Inputs, second.Inputs]), Tensor.Concat([first.Targets, second.Targets]));
        TensorDataset Resized(TensorDataset digits, int side)
        {
            var (inputs, targets) = new TransformedDataset(digits, new Resize(side, side)).Read([.. Enumerable.Range(0, digits.Count)], run.Device);
            return new(inputs, targets);
        }
        stretched = (Resized(first, Side), Resized(second, Side));
        var resized = Resized(all, Box);
        int[] order = new Generator(SplitSeed).Permutation(all.Count);
        var usps = new TensorDataset(resized.Inputs.Pad([Margin, Margin, Margin, Margin]), resized.Targets);
        sets["USPS"] = (new Subset(usps, order[..UspsTraining]), new Subset(usps, order[UspsTraining..]));
    }

    protected override DeepTask Task(string name, int seed)
    {
        string[] domains = name.Split('→');
        var ((source, held), (target, test)) = (sets[domains[0]], sets[domains[1]]);
        bool isFromMnist = domains[0] == "MNIST";
        return new()
        {
            Source = source,
            Held = held,
            Target = target,
            Test = test,
            Networks = Network,
            Width = DigitsNetwork.Bottleneck,
            Classes = DigitsNetwork.Classes,
            DiscriminatorWidth = 500,
            BatchSize = BatchRows,
            Steps = Steps,
            SourceSteps = isFromMnist ? 28_110 : 3480,
            ShotEpochs = 30,
            PseudoLabelWeight = 0.1,
            Augmentation = isFromMnist ? null : new Compose(new RandomCrop(Side, Side, 4), new RandomRotation(10)),
        };
    }

    /// <summary>CDAN's factor of the weight: Ganin's of 10,000 steps, begun after one pass of ten.</summary>
    private static double AfterOnePass(double progress) => progress < 0.1 ? 0 : WeightSchedule.Ganin((progress - 0.1) * Steps / 10_000);

    /// <summary>The digits, the network and the training of CDAN's code.</summary>
    private DeepTask AsCdan(DeepTask task)
    {
        bool isFromMnist = task.Source == sets["MNIST"].Training;
        int[] halved = isFromMnist ? [Steps * 4 / 10, Steps * 9 / 10] : [Steps / 2];
        var (source, target) = isFromMnist ? (sets["MNIST"], stretched) : (stretched, sets["MNIST"]);
        return task with
        {
            Source = source.Training,
            Held = source.Test,
            Target = target.Training,
            Test = target.Test,
            Networks = generator => (new Sequential(DigitsNetwork.CdanFeatures(generator, device)), new Linear(DigitsNetwork.CdanWidth, DigitsNetwork.Classes, generator: generator, device: device)),
            Width = DigitsNetwork.CdanWidth,
            Smoothing = 0,
            WeightDecay = 5e-4,
            IsNesterov = false,
            Schedule = (optimizer, _) => new MultiStepSchedule(optimizer, halved, 0.5),
        };
    }

    private (Module Features, Module Head) Network(Generator generator) =>
        (Initialized(generator, DigitsNetwork.Features(generator, device)), Initialized(generator, DigitsNetwork.Head(generator, device)));
}
