namespace TransferEngine;

/// <summary>
/// Changes parameters by their gradients. A parameter without a gradient (a frozen one, or one that the loss does not reach) is left as it is
/// and keeps no state, as in PyTorch. Each update is one kernel.
/// </summary>
public abstract class Optimizer
{
    private readonly List<ParameterGroup> groups = [];
    private readonly Dictionary<Tensor, State> states = new(ReferenceEqualityComparer.Instance);
    private readonly (double Rate, double Decay, double Momentum) defaults;

    /// <param name="groups">The parameters in groups.</param>
    /// <param name="learningRate">For groups that set none.</param>
    /// <param name="weightDecay">For groups that set none.</param>
    /// <param name="momentum">For groups that set none.</param>
    private protected Optimizer(IEnumerable<ParameterGroup> groups, double learningRate, double weightDecay, double momentum)
    {
        ArgumentNullException.ThrowIfNull(groups);
        defaults = (learningRate, weightDecay, momentum);
        foreach (var group in groups)
            AddGroup(group);
    }

    /// <summary>The groups, in the order in which they were added.</summary>
    public IReadOnlyList<ParameterGroup> Groups => groups;

    /// <summary>The groups that schedules change.</summary>
    internal IEnumerable<ParameterGroup> Scheduled => groups.Where(group => group.IsScheduled);

    /// <summary>The names of the tensors that are kept for each parameter of a group.</summary>
    internal abstract IReadOnlyList<string> BuffersOf(ParameterGroup group);

    /// <summary>Adds parameters, such as those just unfrozen.</summary>
    /// <param name="group">The parameters and their settings.</param>
    /// <exception cref="ArgumentException">A parameter is no contiguous floating leaf, is in a group already, or a setting is negative.</exception>
    public void AddGroup(ParameterGroup group)
    {
        ArgumentNullException.ThrowIfNull(group);
        var known = new HashSet<Tensor>(groups.SelectMany(g => g.Parameters), ReferenceEqualityComparer.Instance);
        foreach (var parameter in group.Parameters)
        {
            Check.Floating(GetType().Name, parameter);
            if (!parameter.IsLeaf)
                throw new ArgumentException($"{GetType().Name}: a parameter {parameter.Shape} was computed, so its gradient is not kept. Pass leaves.", nameof(group));
            if (!parameter.IsContiguous)
                throw new ArgumentException($"{GetType().Name}: a parameter {parameter.Shape} is a strided view. Pass a contiguous tensor.", nameof(group));
            if (!known.Add(parameter))
                throw new ArgumentException($"{GetType().Name}: a parameter {parameter.Shape} is given twice; it would be updated twice.", nameof(group));
        }
        group.Complete(defaults.Rate, defaults.Decay, defaults.Momentum);
        if (!(group.LearningRate >= 0 && group.WeightDecay >= 0 && group.Momentum >= 0))
            throw new ArgumentException($"{GetType().Name}: learning rate {group.LearningRate}, weight decay {group.WeightDecay} and momentum {group.Momentum} must be 0 or more.", nameof(group));
        groups.Add(group);
    }

    /// <summary>Takes parameters and what is kept for them out of their groups, as freezing does; the result puts both back as they were.</summary>
    internal Action Withdraw(IReadOnlySet<Tensor> parameters)
    {
        Action[] returns = [.. groups.Select(group => group.Withdraw(parameters)).OfType<Action>()];
        (Tensor Parameter, State State)[] kept = [.. parameters.Where(states.ContainsKey).Select(parameter => (parameter, states[parameter]))];
        foreach (var (parameter, _) in kept)
            states.Remove(parameter);
        return () =>
        {
            foreach (var putBack in returns)
                putBack();
            foreach (var (parameter, state) in kept)
                states[parameter] = state;
        };
    }

    /// <summary>Updates every parameter that has a gradient.</summary>
    public void Step()
    {
        foreach (var group in groups)
        {
            for (int i = 0; i < group.Parameters.Count; i++)
            {
                var parameter = group.Parameters[i];
                if (parameter.Grad is not { } gradient)
                    continue;
                if (!states.TryGetValue(parameter, out var state))
                    states[parameter] = state = new State(NewBuffers(parameter, BuffersOf(group).Count));
                state.Step++;
                using var dense = new Dense(gradient);
                Update(group, state, parameter, dense.Slice);
                parameter.Storage.Version++;
            }
        }
    }

    /// <summary>Drops the gradients of all parameters, and gives their memory back.</summary>
    public void ZeroGrad()
    {
        foreach (var group in groups)
        {
            for (int i = 0; i < group.Parameters.Count; i++)
            {
                group.Parameters[i].Grad?.Dispose();
                group.Parameters[i].Grad = null;
            }
        }
    }

    /// <summary>
    /// The state as named tensors, for a checkpoint: <c>state.{parameter}.{buffer}</c> and <c>state.{parameter}.step</c>, parameters numbered
    /// through all groups, and <c>groups.{group}.{setting}</c>. Buffers are the optimiser's own, not copies.
    /// </summary>
    public IReadOnlyDictionary<string, Tensor> StateDict()
    {
        var result = new Dictionary<string, Tensor>();
        int number = 0;
        for (int g = 0; g < groups.Count; g++)
        {
            var buffers = BuffersOf(groups[g]);
            foreach (var (name, value) in Settings(groups[g]))
                result[$"groups.{g}.{name}"] = Tensor.Scalar(value);
            foreach (var parameter in groups[g].Parameters)
            {
                if (states.TryGetValue(parameter, out var state))
                {
                    result[$"state.{number}.step"] = Tensor.Scalar(state.Step);
                    for (int i = 0; i < buffers.Count; i++)
                        result[$"state.{number}.{buffers[i]}"] = state.Buffers[i];
                }
                number++;
            }
        }
        return result;
    }

    /// <summary>Takes over what <see cref="StateDict"/> of an optimiser of the same kind over the same parameters gave.</summary>
    /// <param name="state">The named tensors, on any device.</param>
    /// <exception cref="ArgumentException">A name is missing, or a tensor has another shape or type.</exception>
    public void LoadStateDict(IReadOnlyDictionary<string, Tensor> state)
    {
        ArgumentNullException.ThrowIfNull(state);
        var loaded = new Dictionary<Tensor, State>(ReferenceEqualityComparer.Instance);
        var settings = new double[groups.Count, 4];
        int number = 0;
        for (int g = 0; g < groups.Count; g++)
        {
            var names = Settings(groups[g]);
            var kept = BuffersOf(groups[g]);
            for (int i = 0; i < names.Length; i++)
                settings[g, i] = Wanted(state, $"groups.{g}.{names[i].Name}").Item();
            foreach (var parameter in groups[g].Parameters)
            {
                if (state.TryGetValue($"state.{number}.step", out var step))
                {
                    var buffers = new Tensor[kept.Count];
                    for (int i = 0; i < buffers.Length; i++)
                    {
                        string name = $"state.{number}.{kept[i]}";
                        var buffer = Wanted(state, name);
                        if (buffer.Shape != parameter.Shape || buffer.ElementType != parameter.ElementType)
                            throw new ArgumentException($"{GetType().Name}.LoadStateDict: {name} is {buffer.ElementType}{buffer.Shape}, its parameter {parameter.ElementType}{parameter.Shape}.", nameof(state));
                        buffers[i] = buffer.To(parameter.Device).Detach().Clone().KeepAlive();
                    }
                    loaded[parameter] = new State(buffers) { Step = (int)step.Item() };
                }
                number++;
            }
        }
        // Everything was there: only now is anything changed.
        for (int g = 0; g < groups.Count; g++)
            (groups[g].LearningRate, groups[g].InitialLearningRate, groups[g].WeightDecay, groups[g].Momentum) = (settings[g, 0], settings[g, 1], settings[g, 2], settings[g, 3]);
        states.Clear();
        foreach (var (parameter, its) in loaded)
            states[parameter] = its;

        Tensor Wanted(IReadOnlyDictionary<string, Tensor> all, string name) => all.TryGetValue(name, out var found)
            ? found
            : throw new ArgumentException($"{GetType().Name}.LoadStateDict: {name} is missing. Was the state saved from other parameters or another optimiser?", nameof(state));
    }

    /// <summary>One update of one parameter in place.</summary>
    internal abstract void Update(ParameterGroup group, State state, Tensor parameter, Kernels.Slice gradient);

    private static (string Name, double Value)[] Settings(ParameterGroup group) =>
        [("learning_rate", group.LearningRate), ("initial_learning_rate", group.InitialLearningRate), ("weight_decay", group.WeightDecay), ("momentum", group.Momentum)];

    private static Tensor[] NewBuffers(Tensor parameter, int count)
    {
        var buffers = new Tensor[count];
        for (int i = 0; i < buffers.Length; i++)
            buffers[i] = Tensor.Zeros(parameter.Shape, parameter.Device, parameter.ElementType).KeepAlive();
        return buffers;
    }

    /// <summary>What is kept for one parameter.</summary>
    internal sealed class State(Tensor[] buffers)
    {
        /// <summary>Updates so far, the present one included.</summary>
        public int Step { get; set; }

        public Tensor[] Buffers { get; } = buffers;

        /// <summary>A buffer, or the parameter in place of one that is not kept: the kernel does not touch it then.</summary>
        public Kernels.Slice Buffer(int index, Tensor parameter) => index >= 0 && index < Buffers.Length ? Buffers[index].Slice : parameter.Slice;
    }
}
